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
};

/// Writes checkpoints/step-<8 digits> by all ranks, commits it, prunes. Collective. Protocol: src/checkpoint/README.md.
/// @throws Error "checkpoint.save.*" on every rank when any rank failed; nothing of the attempt is left and
/// earlier checkpoints are intact.
SaveReport save(std::string const& run_dir, State const& state, std::vector<Piece> const& pieces,
                Options const& options, comm::Communicator world);

struct Found {
  bool any = false;  ///< a valid checkpoint was found
  State state;
  std::string directory;
  std::vector<std::string> skipped;  ///< newer ones that were not valid, with the reason: "step-…: …"
};

/// Reads the newest valid checkpoint (or exactly `step` when >= 0) into the pieces, verifying checksums while reading;
/// falls back to the one before on damage. Any layout. Collective. @throws Error "checkpoint.load.*" when a tensor of
/// `pieces` is not there or has another global shape, or when checkpoints exist but none is valid (exit 3).
Found load(std::string const& run_dir, std::int64_t step, std::vector<Piece> const& pieces, comm::Communicator world);
/// State of the newest (or given) checkpoint whose files exist with the right sizes, without reading tensors.
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
/// All problems of a checkpoint, "" free: each "file: tensor: what". Reads everything.
std::vector<std::string> verify(std::string const& checkpoint_dir);
/// Reads one whole tensor as f32.
std::vector<float> read_tensor(std::string const& checkpoint_dir, std::string const& name, Role role);

}  // namespace lamina::checkpoint
