#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

/// MPI as the library wants to see it: handles that free themselves, errors as exceptions, no policy.
/// Every function throws Error "vendor.mpi.call" when MPI refuses, "vendor.mpi.missing" in a build without MPI.
namespace lamina::mpi {

/// False in a build without MPI: then nothing below may be called, `version`, `inside_call`, `initialised` and `abort`
/// excepted.
bool available() noexcept;
/// The library's own words: "Open MPI v4.1.4"; "none" in a build without MPI. Also before `initialise`.
std::string version();
/// MPI_Init_thread(MPI_THREAD_MULTIPLE) on the first call; MPI_Finalize follows once, when the process exits.
void initialise();
bool initialised() noexcept;
/// Ends the job with `code` (MPI_Abort, the only way that keeps the code under Slurm); without MPI, the process.
[[noreturn]] void abort(int code) noexcept;
/// True while the calling thread is inside MPI; what MPI allocates there is not ours.
bool inside_call() noexcept;

/// A communicator of its own (never MPI_COMM_WORLD itself), so that its messages meet nobody else's.
class Comm {
 public:
  static Comm world();

  Comm();
  ~Comm();
  Comm(Comm&&) noexcept;
  Comm& operator=(Comm&&) noexcept;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Collective over `members` (ranks of this communicator, in the order wanted), among them the caller. Blocking.
  /// `tag` (0 .. 32767) tells apart groups that are made at the same time.
  Comm group(std::span<int const> members, int tag) const;
  /// Ranks of this communicator on the caller's node, ascending. Collective over this communicator, blocking.
  std::vector<int> node_members() const;
  /// What every rank gives, by rank. Collective, blocking.
  std::vector<std::int64_t> all_gather(std::int64_t x) const;
  /// Points to the MPI_Comm, for libraries that want one.
  void const* native() const;

 private:
  friend class Requests;
  struct Raw;
  static Comm adopt(Raw raw);
  std::unique_ptr<Raw> raw_;
  int rank_ = 0, size_ = 1;
};

/// A fixed number of slots for non-blocking messages. Allocates on construction only.
class Requests {
 public:
  static constexpr std::int64_t max_bytes = std::int64_t{1} << 30;  ///< of one message

  explicit Requests(int slots);
  ~Requests();  ///< cancels what is in flight
  Requests(Requests const&) = delete;
  Requests& operator=(Requests const&) = delete;

  /// `slot` must be free. The memory belongs to MPI until the slot has been returned by `test`.
  void send(int slot, Comm const& comm, void const* data, std::int64_t bytes, int peer, int tag);
  void recv(int slot, Comm const& comm, void* data, std::int64_t bytes, int peer, int tag);
  /// Slots whose messages are complete, free again from now on; valid until the next call. Does not block.
  /// @throws Error "vendor.mpi.length" when a message is shorter than its receiver expects.
  std::span<int const> test();
  int active() const { return active_; }

 private:
  struct State;
  std::unique_ptr<State> state_;
  int active_ = 0;
};

/// MPI's own all-reduce of f32 sums, blocking: what ours is measured against.
void native_all_reduce(Comm const& comm, float* data, std::int64_t count);
/// The same for equal parts of `count` elements each: out of `whole` into `part`, and back.
void native_reduce_scatter(Comm const& comm, float const* whole, float* part, std::int64_t count);
void native_all_gather(Comm const& comm, float const* part, float* whole, std::int64_t count);

}  // namespace lamina::mpi
