#include "vendor/mpi/mpi.hpp"

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::mpi {
namespace {

thread_local int calls_deep = 0;

struct Inside {
  Inside() { ++calls_deep; }
  ~Inside() { --calls_deep; }
  Inside(Inside const&) = delete;
  Inside& operator=(Inside const&) = delete;
};

std::string message_of(int status) {
  char words[MPI_MAX_ERROR_STRING];
  int length = 0;
  Inside const inside;
  MPI_Error_string(status, words, &length);
  return std::string(words, static_cast<std::size_t>(length));
}

void check(int status, char const* call, std::source_location at = std::source_location::current()) {
  if (status == MPI_SUCCESS) return;
  fail({.code = "vendor.mpi.call",
        .subject = call,
        .found = message_of(status),
        .expected = "MPI_SUCCESS",
        .fix = "look for the first rank that failed; its message comes before this one"},
       at);
}

[[noreturn]] void fail_length(MPI_Status const& status, std::string found, std::int64_t expected) {
  fail({.code = "vendor.mpi.length",
        .subject = text("message from rank ", status.MPI_SOURCE, " of its group"),
        .found = std::move(found),
        .expected = text(expected, " bytes"),
        .fix = "the ranks run different programs or collectives: compare their plans (`lamina plan --print program`)"});
}

void check_message(MPI_Status const& status, std::int64_t expected) {
  int error_class = MPI_SUCCESS;
  MPI_Error_class(status.MPI_ERROR, &error_class);
  if (error_class == MPI_ERR_TRUNCATE) fail_length(status, "a longer message", expected);
  check(status.MPI_ERROR, "a message of this rank");
}

// The comma operator keeps the guard alive until the call has returned.
#define LAMINA_MPI(call) check((Inside{}, call), #call)

/// Finalises MPI when the process exits. Communicators that live longer are not freed any more.
struct Session {
  bool ours = false;
  ~Session() {
    int finalised = 0;
    MPI_Finalized(&finalised);
    if (ours && !finalised) MPI_Finalize();
  }
};

Session& session() {
  static Session the_session;
  return the_session;
}

}  // namespace

struct Comm::Raw {
  MPI_Comm comm = MPI_COMM_NULL;
};

struct Requests::State {
  explicit State(int slots) : requests(slots, MPI_REQUEST_NULL), bytes(slots), done(slots), statuses(slots) {}
  std::vector<MPI_Request> requests;
  std::vector<std::int64_t> bytes;  // a receiver's expectation, or -1
  std::vector<int> done;
  std::vector<MPI_Status> statuses;
};

bool available() noexcept { return true; }

std::string version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> words{};
  int length = 0;
  LAMINA_MPI(MPI_Get_library_version(words.data(), &length));
  // What follows is where and how it was built: "Open MPI v4.1.4, package: ...", "MPICH Version:      4.0.2\nMPICH
  // ...".
  std::string const all(words.data(), static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

bool inside_call() noexcept { return calls_deep > 0; }

bool initialised() noexcept {
  int yes = 0, finalised = 0;
  MPI_Initialized(&yes);
  MPI_Finalized(&finalised);
  return yes && !finalised;
}

namespace {

/// By mpirun, srun or another launcher, whatever the number of ranks: each tells its processes their rank.
bool is_launched() {
  for (char const* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "PMI_ID"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

/// What Open MPI does for a single process as well, unless told otherwise.
void set_up_alone() {
  ::setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);  // a daemon for spawning more: a quarter of a second
  ::setenv("OMPI_MCA_pml", "ob1", 0);                   // a search for networks: another quarter
  ::setenv("OMPI_MCA_btl", "self", 0);
  // A directory that all single processes of a user share, and that the first to end takes from those that just start.
  ::setenv("OMPI_MCA_orte_create_session_dirs", "0", 0);
}

}  // namespace

void initialise() {
  int yes = 0;
  LAMINA_MPI(MPI_Initialized(&yes));
  if (yes) return;
  if (!is_launched()) set_up_alone();
  int provided = 0;
  LAMINA_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
  session().ours = true;
  if (provided < MPI_THREAD_MULTIPLE) {
    fail({.code = "vendor.mpi.threads",
          .subject = "MPI_Init_thread",
          .found = text("thread level ", provided),
          .expected = "MPI_THREAD_MULTIPLE: the service thread communicates beside the main thread",
          .fix = "use an MPI library that was built with thread support"});
  }
}

void abort(int code) noexcept {
  std::fflush(nullptr);
  if (initialised()) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

Comm::Comm() = default;
Comm::Comm(Comm&&) noexcept = default;

Comm& Comm::operator=(Comm&& other) noexcept {
  std::swap(raw_, other.raw_);
  std::swap(rank_, other.rank_);
  std::swap(size_, other.size_);
  return *this;
}

Comm::~Comm() {
  if (!raw_ || !initialised()) return;
  Inside const inside;
  MPI_Comm_free(&raw_->comm);
}

Comm Comm::adopt(Raw raw) {
  Comm comm;
  comm.raw_ = std::make_unique<Raw>(raw);
  LAMINA_MPI(MPI_Comm_set_errhandler(raw.comm, MPI_ERRORS_RETURN));
  LAMINA_MPI(MPI_Comm_rank(raw.comm, &comm.rank_));
  LAMINA_MPI(MPI_Comm_size(raw.comm, &comm.size_));
  return comm;
}

Comm Comm::world() {
  initialise();
  Raw raw;
  LAMINA_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &raw.comm));
  return adopt(raw);
}

Comm Comm::group(std::span<int const> members, int tag) const {
  MPI_Group all = MPI_GROUP_NULL, some = MPI_GROUP_NULL;
  LAMINA_MPI(MPI_Comm_group(raw_->comm, &all));
  LAMINA_MPI(MPI_Group_incl(all, static_cast<int>(members.size()), members.data(), &some));
  Raw raw;
  LAMINA_MPI(MPI_Comm_create_group(raw_->comm, some, tag, &raw.comm));
  LAMINA_MPI(MPI_Group_free(&some));
  LAMINA_MPI(MPI_Group_free(&all));
  return adopt(raw);
}

std::vector<int> Comm::node_members() const {
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Group all = MPI_GROUP_NULL, near = MPI_GROUP_NULL;
  LAMINA_MPI(MPI_Comm_split_type(raw_->comm, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
  LAMINA_MPI(MPI_Comm_group(raw_->comm, &all));
  LAMINA_MPI(MPI_Comm_group(node, &near));
  int n = 0;
  LAMINA_MPI(MPI_Group_size(near, &n));
  std::vector<int> local(n), ranks(n);
  std::iota(local.begin(), local.end(), 0);
  LAMINA_MPI(MPI_Group_translate_ranks(near, n, local.data(), all, ranks.data()));
  LAMINA_MPI(MPI_Group_free(&near));
  LAMINA_MPI(MPI_Group_free(&all));
  LAMINA_MPI(MPI_Comm_free(&node));
  return ranks;  // ascending: the split was keyed by rank
}

std::vector<std::int64_t> Comm::all_gather(std::int64_t x) const {
  std::vector<std::int64_t> all(static_cast<std::size_t>(size_));
  LAMINA_MPI(MPI_Allgather(&x, 1, MPI_INT64_T, all.data(), 1, MPI_INT64_T, raw_->comm));
  return all;
}

void const* Comm::native() const { return static_cast<void const*>(&raw_->comm); }

Requests::Requests(int slots) : state_(std::make_unique<State>(slots)) {}

Requests::~Requests() {
  if (active_ == 0 || !initialised()) return;
  Inside const inside;
  for (auto& request : state_->requests) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
}

void Requests::send(int slot, Comm const& comm, void const* data, std::int64_t bytes, int peer, int tag) {
  LAMINA_MPI(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm.raw_->comm, &state_->requests[slot]));
  state_->bytes[slot] = -1;
  ++active_;
}

void Requests::recv(int slot, Comm const& comm, void* data, std::int64_t bytes, int peer, int tag) {
  LAMINA_MPI(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm.raw_->comm, &state_->requests[slot]));
  state_->bytes[slot] = bytes;
  ++active_;
}

std::span<int const> Requests::test() {
  if (active_ == 0) return {};
  auto& s = *state_;
  int n = 0;
  auto const status = (Inside{}, MPI_Testsome(static_cast<int>(s.requests.size()), s.requests.data(), &n, s.done.data(),
                                              s.statuses.data()));
  if (status == MPI_ERR_IN_STATUS) {
    for (int i = 0; i < n; ++i) check_message(s.statuses[i], s.bytes[s.done[i]]);
  }
  check(status, "MPI_Testsome");
  for (int i = 0; i < n; ++i) {
    auto const expected = s.bytes[s.done[i]];
    if (expected < 0) continue;
    int found = 0;
    LAMINA_MPI(MPI_Get_count(&s.statuses[i], MPI_BYTE, &found));
    if (found != expected) fail_length(s.statuses[i], text(found, " bytes"), expected);
  }
  active_ -= n;
  return {s.done.data(), static_cast<std::size_t>(n)};
}

void native_all_reduce(Comm const& comm, float* data, std::int64_t count) {
  LAMINA_MPI(MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                           *static_cast<MPI_Comm const*>(comm.native())));
}

void native_reduce_scatter(Comm const& comm, float const* whole, float* part, std::int64_t count) {
  LAMINA_MPI(MPI_Reduce_scatter_block(whole, part, static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                                      *static_cast<MPI_Comm const*>(comm.native())));
}

void native_all_gather(Comm const& comm, float const* part, float* whole, std::int64_t count) {
  auto const n = static_cast<int>(count);
  LAMINA_MPI(MPI_Allgather(part, n, MPI_FLOAT, whole, n, MPI_FLOAT, *static_cast<MPI_Comm const*>(comm.native())));
}

}  // namespace lamina::mpi
