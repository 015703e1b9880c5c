#include "lamina/kernels/runtime.hpp"

#include <optional>

#include "detail/kokkos.hpp"
#include "detail/parallel.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {
namespace {

// Kokkos itself is a process-wide singleton; this is its shadow.
std::optional<detail::Exec> exec;
int available = 0, used = 0;

}  // namespace

Runtime::Runtime(int threads) {
  if (Kokkos::is_initialized() || Kokkos::is_finalized()) {
    fail({.code = "kernels.runtime.twice",
          .subject = "kernel runtime",
          .found = "a second one in this process",
          .expected = "one per process: Kokkos cannot be started again",
          .fix = "make one Runtime in main and keep it"});
  }
  auto settings = Kokkos::InitializationSettings().set_disable_warnings(true);
  if (threads > 0) settings.set_num_threads(threads);
  Kokkos::initialize(settings);
  exec.emplace();
  available = used = exec->concurrency();
}

Runtime::~Runtime() {
  exec.reset();
  available = used = 0;
  Kokkos::finalize();
}

std::string kokkos_version() {
  constexpr int v = detail::kokkos_version;
  return text(v / 10000, '.', v / 100 % 100, '.', v % 100);
}

int threads() { return used; }

void set_threads(int count) {
  if (count < 1 || count > available) {
    fail({.code = "kernels.runtime.threads",
          .subject = "set_threads",
          .found = text(count),
          .expected = text("1 .. ", available),
          .fix = "make the Runtime with more threads"});
  }
  used = count;
}

detail::Exec const& detail::space() {
  if (!exec) {
    fail({.code = "kernels.runtime.none",
          .subject = "kernel call",
          .found = "no Runtime",
          .expected = "a lamina::kernels::Runtime that outlives every kernel call",
          .fix = "make one in main, after MPI_Init"});
  }
  return *exec;
}

void detail::run_slots(std::string const& label, int slots, void (*f)(void const* work, int slot), void const* work) {
  launch(label, slots, [f, work](int slot) { f(work, slot); });
}

}  // namespace lamina::kernels
