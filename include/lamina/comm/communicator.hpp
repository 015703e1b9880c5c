#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::comm {

enum class Reduce { sum, max, mean };

/// A group of ranks that communicate. Copies share the same underlying communicator.
/// All operations with a Stream are collective over the group (send and recv: between two ranks), non-blocking, and
/// ordered by the stream. `make_*` returns a reusable task for a bound program; the plain form runs it once.
class Communicator {
 public:
  /// All ranks. Initialises MPI (thread multiple) on first use and finalises it at exit.
  static Communicator world();
  /// One rank, no MPI.
  static Communicator self();

  int rank() const;
  int size() const;
  std::string const& name() const;
  /// Collective over this communicator: ranks listed in `members` (ranks of *this*, in the order wanted) get the new
  /// group; the others get an invalid communicator. Every rank passes its own list; equal lists form a group. `tag`
  /// distinguishes groups made at the same time.
  Communicator subgroup(std::span<int const> members, std::string name, int tag) const;
  explicit operator bool() const { return static_cast<bool>(impl_); }

  /// Reduces element-wise over all ranks, in place. f32, bf16 (summed in f32), f64, i64. The order of the sum is the
  /// rank order, so every rank gets the same bits and repeats them. Traffic: 2 (n-1)/n * bytes per rank.
  /// @throws Error "comm.all_reduce.dtype" before anything is sent; "comm.peer_lost" on wait.
  void all_reduce(device::Stream& stream, TensorRef t, Reduce op = Reduce::sum);
  /// A list is reduced as if it were one tensor (one message per peer where it is contiguous in memory).
  std::unique_ptr<device::Task> make_all_reduce(std::vector<TensorRef> tensors, Reduce op = Reduce::sum);
  /// Rank r keeps the sum of rows rows[r] .. rows[r+1] of `in` (dim 0) in `out`.
  void reduce_scatter(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows);
  std::unique_ptr<device::Task> make_reduce_scatter(TensorRef in, TensorRef out, std::vector<std::int64_t> rows);
  /// Rank r contributes rows rows[r] .. rows[r+1] of `out` from `in`.
  void all_gather(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows);
  std::unique_ptr<device::Task> make_all_gather(TensorRef in, TensorRef out, std::vector<std::int64_t> rows);
  void broadcast(device::Stream& stream, TensorRef t, int root);
  std::unique_ptr<device::Task> make_broadcast(TensorRef t, int root);
  std::unique_ptr<device::Task> make_send(TensorRef t, int peer);
  std::unique_ptr<device::Task> make_recv(TensorRef t, int peer);
  std::unique_ptr<device::Task> make_barrier();

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
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Ends the whole job with `code` on every rank at once, keeping the code under mpirun and srun.
[[noreturn]] void abort_job(int code);
/// True when started by mpirun or srun as one of several ranks, or when MPI is initialised with more than one.
bool launched_in_parallel();

}  // namespace lamina::comm
