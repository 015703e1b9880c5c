#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/comm/communicator.hpp"
#include "lamina/program/program.hpp"
#include "lamina/tensor/role.hpp"

namespace lamina::checkpoint {

/// One rank's piece of a named global tensor. Role parameter, moment1 or moment2.
struct Piece {
  std::string name;
  Role role = Role::parameter;
  Shape global_shape;
  std::vector<program::Hyperslab> slabs;  ///< stacked along dim 0 in `memory`; empty: the whole tensor
  TensorRef memory;
  bool owner = true;  ///< this rank writes it (of replicas, one does)
};

/// Scalars of a checkpoint; part of the manifest.
struct State {
  std::int64_t step = 0, tokens = 0, seed = 0;
  std::int64_t data_position = 0;  ///< samples consumed
  std::string config;              ///< resolved run file
  std::string layout;              ///< mesh in words
  std::string tokenizer_hash{};    ///< data::tokenizer_hash of what made the tokens; "" when unknown or bytes
};

struct Options {
  std::int64_t files = 1;
  std::int64_t keep = 2;
  std::int64_t keep_every = 0;
};

struct SaveReport {
  std::string directory;
  std::int64_t bytes = 0;
  double seconds = 0;
  std::vector<std::string> warnings;  ///< on rank 0: what went wrong after the commit (the hint, pruning)
};

/// Divides what replicas hold in common, so that they write in parallel: the part that replica `replica` of `replicas`
/// writes, cut along dim 0 (1-dim tensors every 64 elements) into equal numbers of bytes to within one row. Over all
/// replicas each element has exactly one owner. Pieces without `owner` are left out; the others alias the memory of
/// `common`. For save; load wants `common`.
std::vector<Piece> split_among_replicas(std::vector<Piece> const& common, int replica, int replicas);

/// Writes checkpoints/step-<8 digits> by all ranks, commits it, prunes. Collective, blocking, main thread; data go
/// straight from the pieces' memory to the disk, no copy is made. Every element of every tensor needs exactly one
/// owner over all ranks. A checkpoint of the same step is replaced. Protocol: src/checkpoint/README.md.
/// @throws Error "checkpoint.save.*" on every rank when any rank failed; nothing of the attempt is left and
/// earlier checkpoints are intact. "checkpoint.save.no_space" tells the bytes needed and free.
SaveReport save(std::string const& run_dir, State const& state, std::vector<Piece> const& pieces,
                Options const& options, comm::Communicator world);

struct Found {
  bool any = false;  ///< a valid checkpoint was found
  State state;
  std::string directory;
  std::vector<std::string> skipped;  ///< newer ones that were not valid, with the reason: "step-…: …"
};

/// Reads the newest valid checkpoint (or exactly `step` when >= 0) into the pieces, verifying checksums while reading;
/// falls back to the one before on damage. Any layout. Collective, blocking, main thread. `run_dir` may also name one
/// checkpoint. Reads each piece once, straight into its memory; a tensor that the pieces of all ranks do not cover is
/// read once more for its checksum. @throws Error "checkpoint.load.*" on every rank when a tensor of `pieces` is not
/// there or has another global shape or dtype, when checkpoints exist but none is valid, or when `step` >= 0 is not
/// there (exit 3); the memory of the pieces is then undefined.
Found load(std::string const& run_dir, std::int64_t step, std::vector<Piece> const& pieces, comm::Communicator world);
/// State of the newest (or given) checkpoint whose files exist with the right sizes, without reading tensors; any rank
/// alone. Throws nothing for damage: `any` is false and `skipped` says why.
Found peek(std::string const& run_dir, std::int64_t step);

/// A tensor as the command line sees it.
struct TensorInfo {
  std::string name;
  Role role = Role::parameter;
  TensorSpec spec;
  std::string file;
};
struct Listing {
  std::string directory;
  State state;
  std::int64_t bytes = 0;
  std::vector<TensorInfo> tensors;
};
/// All complete checkpoints below a run directory (or the one a path names), oldest first.
std::vector<Listing> list(std::string const& path);
/// What is called like a checkpoint below a run directory (or is the one a path names), complete or not, oldest first.
std::vector<std::string> directories(std::string const& path);
/// All problems of a checkpoint, "" free: each "file: tensor: what". Reads everything, and compares what HDF5 sees with
/// the manifest once sizes and checksums are right.
std::vector<std::string> verify(std::string const& checkpoint_dir);
/// Reads one whole tensor (f32, bf16, f64) as f32, checking its checksum. @throws Error "checkpoint.load.*".
std::vector<float> read_tensor(std::string const& checkpoint_dir, std::string const& name, Role role);

/// How one tensor differs between two checkpoints. NaN equals NaN; a NaN against a number differs by infinity.
struct TensorDifference {
  std::string name;
  Role role = Role::parameter;
  std::string note;            ///< "" when compared; else "only in <directory>" or both shapes
  std::int64_t count = 0;      ///< elements
  std::int64_t differing = 0;  ///< of them
  double max_abs = 0;          ///< max |a - b|
  double max_rel = 0;          ///< max |a - b| / max(|a|, |b|)
};
/// Every tensor of either checkpoint, also the equal ones, in the order of the first. @throws Error
/// "checkpoint.load.*".
std::vector<TensorDifference> diff(std::string const& a_dir, std::string const& b_dir);

/// The interval between checkpoints that loses the least time: sqrt(2 * cost * mean time between failures) (Young,
/// "A first order approximation to the optimum checkpoint interval", CACM 1974).
double suggested_interval_s(double cost_s, double mean_time_between_failures_s);

}  // namespace lamina::checkpoint
