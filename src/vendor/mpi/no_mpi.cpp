#include <cstdio>
#include <cstdlib>

#include "lamina/base/error.hpp"
#include "vendor/mpi/mpi.hpp"

namespace lamina::mpi {
namespace {

[[noreturn]] void missing(std::source_location at = std::source_location::current()) {
  fail({.code = "vendor.mpi.missing",
        .subject = "MPI",
        .found = "a build without MPI",
        .expected = "a build with it for more than one rank",
        .fix = "configure with -DLAMINA_WITH_MPI=ON"},
       at);
}

}  // namespace

struct Comm::Raw {};
struct Requests::State {};

bool available() noexcept { return false; }
std::string version() { return "none"; }
void initialise() { missing(); }
bool initialised() noexcept { return false; }
bool inside_call() noexcept { return false; }

void abort(int code) noexcept {
  std::fflush(nullptr);
  std::_Exit(code);
}

Comm::Comm() = default;
Comm::Comm(Comm&&) noexcept = default;
Comm& Comm::operator=(Comm&&) noexcept = default;
Comm::~Comm() = default;
Comm Comm::adopt(Raw) { missing(); }
Comm Comm::world() { missing(); }
Comm Comm::group(std::span<int const>, int) const { missing(); }
std::vector<int> Comm::node_members() const { missing(); }
std::vector<std::int64_t> Comm::all_gather(std::int64_t) const { missing(); }
void const* Comm::native() const { missing(); }

Requests::Requests(int) {}  // a group of one rank has tasks too; they have no messages
Requests::~Requests() = default;
void Requests::send(int, Comm const&, void const*, std::int64_t, int, int) { missing(); }
void Requests::recv(int, Comm const&, void*, std::int64_t, int, int) { missing(); }
std::span<int const> Requests::test() { return {}; }
void native_all_reduce(Comm const&, float*, std::int64_t) { missing(); }
void native_reduce_scatter(Comm const&, float const*, float*, std::int64_t) { missing(); }
void native_all_gather(Comm const&, float const*, float*, std::int64_t) { missing(); }

}  // namespace lamina::mpi
