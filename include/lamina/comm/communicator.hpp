#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::comm {

enum class Reduce { sum, max, mean };

/// What a row of a tensor is: an index of dim `dim`, or a row of the tensor taken as [count / last dim, last dim]
/// (of one dim: [count, 1]).
struct RowsOf {
  int dim = 0;
  bool flat = false;
};

/// One tensor of a reduce-scatter or all-gather: rows[r] .. rows[r+1] of `whole` belong to rank r, and `part` has those
/// of this rank; any of them may be none. The part may be those rows inside the whole where they are contiguous (flat,
/// or dim 0); with `flat` it may be longer than its rows, and the rest is left alone.
struct RowCut {
  TensorRef whole, part;
  std::vector<std::int64_t> rows;
};

namespace detail {
struct Channel;
}

/// A group of ranks that communicate. Copies share the same underlying communicator.
/// All operations with a Stream are collective over the group (send and recv: between two ranks), non-blocking, and
/// ordered by the stream. `make_*` returns a reusable task for a bound program; the plain form runs it once.
///
/// The collectives of one communicator run one after another: enqueue them on one stream, in the same order on every
/// rank ("comm.group.busy" otherwise). Work that shall overlap takes a subgroup of its own. Messages between two ranks
/// are matched in the order in which they start.
/// Beside the buffers given, a communicator keeps memory for what its reductions receive, from the first one on:
/// `reduction_scratch_bytes(size())` and `small_reduction_scratch_bytes(size())` (tensor/reduction.hpp).
class Communicator {
 public:
  /// All ranks. Initialises MPI (thread multiple) on first use and finalises it at exit.
  /// @throws Error "comm.world.singletons" when a launcher started several ranks that do not see each other.
  static Communicator world();
  /// One rank, no MPI.
  static Communicator self();

  int rank() const;
  int size() const;
  std::string const& name() const;
  /// Whether its ranks read each other's memory: several of one node, where the system lets them.
  bool is_within_reach() const;
  /// Collective over this communicator: ranks listed in `members` (ranks of *this*, in the order wanted) get the new
  /// group; the others get an invalid communicator. Every rank passes its own list; equal lists form a group. `tag`
  /// distinguishes groups made at the same time.
  Communicator subgroup(std::span<int const> members, std::string name, int tag) const;
  explicit operator bool() const { return static_cast<bool>(channel_); }

  /// Reduces element-wise over all ranks, in place. f32, bf16 (summed in f32), f64, i64. The order of the sum is the
  /// rank order, so every rank gets the same bits and repeats them. Traffic: 2 (n-1)/n * bytes per rank.
  /// @throws Error "comm.all_reduce.dtype" before anything is sent; "comm.peer_lost" on wait.
  void all_reduce(device::Stream& stream, TensorRef t, Reduce op = Reduce::sum);
  /// A list is reduced as if it were one tensor; all of one dtype. Small ones (up to 256 KiB between two ranks, 64 KiB
  /// among four, 16 KiB among more) take one message to each peer: one round trip, (n-1) * bytes per rank.
  std::unique_ptr<device::Task> make_all_reduce(std::vector<TensorRef> tensors, Reduce op = Reduce::sum) const;
  /// Rank r keeps the sum of rows rows[r] .. rows[r+1] of `in` (dim 0) in `out`; in rank order, as of all_reduce.
  void reduce_scatter(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows);
  /// A list goes as fast as one tensor: small parts of several tensors share messages. All of one dtype. Traffic:
  /// (n-1)/n * bytes of the wholes per rank.
  /// @throws Error "comm.reduce_scatter.rows" when tables, parts and wholes do not fit.
  std::unique_ptr<device::Task> make_reduce_scatter(std::vector<RowCut> cuts, RowsOf of = {},
                                                    Reduce op = Reduce::sum) const;
  /// Rank r contributes rows rows[r] .. rows[r+1] of `out` from `in`.
  void all_gather(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows);
  /// The same for a list, of any dtype. @throws Error "comm.all_gather.rows".
  std::unique_ptr<device::Task> make_all_gather(std::vector<RowCut> cuts, RowsOf of = {}) const;
  void broadcast(device::Stream& stream, TensorRef t, int root);
  std::unique_ptr<device::Task> make_broadcast(TensorRef t, int root) const;
  std::unique_ptr<device::Task> make_send(TensorRef t, int peer) const;
  std::unique_ptr<device::Task> make_recv(TensorRef t, int peer) const;
  std::unique_ptr<device::Task> make_barrier() const;

  // Blocking helpers for set-up, checkpoints and errors; main thread only, outside a step.
  void barrier() const;
  void broadcast_bytes(std::string& bytes, int root) const;                         ///< any length, also different ones
  std::vector<std::string> gather_bytes(std::string const& bytes, int root) const;  ///< empty except on root
  std::vector<std::string> all_gather_bytes(std::string const& bytes) const;
  std::int64_t all_min(std::int64_t x) const;
  std::int64_t all_max(std::int64_t x) const;
  std::int64_t all_sum(std::int64_t x) const;
  /// Ranks that share memory (a node), as world ranks of this communicator in order.
  std::vector<int> node_members() const;

 private:
  static Communicator adopt(std::shared_ptr<detail::Channel> channel);
  std::shared_ptr<detail::Channel> const& channel() const { return channel_; }
  void check_peer(int peer, char const* what) const;
  std::vector<std::int64_t> starts_of(std::int64_t mine) const;

  std::shared_ptr<detail::Channel> channel_;
};

/// Ends the whole job with `code` on every rank at once, keeping the code under mpirun and srun.
[[noreturn]] void abort_job(int code);
/// True when started by mpirun or srun as one of several ranks, or when MPI is initialised with more than one.
bool launched_in_parallel();
/// Collective. Compares a value that must be equal on all ranks: source revision, program format, plan hash.
/// @throws Error "comm.world.<rule>" on every rank, naming the ranks that differ from rank 0 and both values.
void require_equal(Communicator const& world, std::string_view rule, std::string_view what, std::string const& value);

}  // namespace lamina::comm
