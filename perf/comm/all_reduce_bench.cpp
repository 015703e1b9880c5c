// All-reduce of f32 sums: ours against MPI_Allreduce, interleaved in one run.
//   mpirun -n 2 perf.comm.all_reduce [MIB=64] [PAIRS=9]
// Work: 4 bytes an element, 2 (n-1)/n of them sent and received by each rank. The time of a call is the slowest rank's.
// One JSON line from rank 0: medians, and the median and range of the ratios MPI / ours.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "lamina/comm/communicator.hpp"
#include "vendor/mpi/mpi.hpp"

namespace {

using lamina::comm::Communicator;

template <class Call>
double slowest_ms(Communicator const& world, Call&& call) {
  world.barrier();
  auto const start = std::chrono::steady_clock::now();
  call();
  auto const ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start);
  return 1e-6 * static_cast<double>(world.all_max(ns.count()));
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

void run(std::int64_t bytes, int pairs) {
  auto const world = Communicator::world();
  auto const native = lamina::mpi::Comm::world();
  std::vector<float> v(static_cast<std::size_t>(bytes / 4), 1.0f);
  auto const count = static_cast<std::int64_t>(v.size());
  lamina::device::Service service;
  lamina::device::Stream stream(service);
  auto const task = world.make_all_reduce({{v.data(), {lamina::DType::f32, {count}}}});
  std::vector<double> ours, theirs, ratios;
  for (int i = -2; i < pairs; ++i) {  // two pairs to warm up
    auto const their_ms = slowest_ms(world, [&] { lamina::mpi::native_all_reduce(native, v.data(), count); });
    auto const our_ms = slowest_ms(world, [&] {
      stream.enqueue(*task);
      stream.wait();
    });
    std::fill(v.begin(), v.end(), 1.0f);
    if (i < 0) continue;
    ours.push_back(our_ms), theirs.push_back(their_ms), ratios.push_back(their_ms / our_ms);
  }
  if (world.rank() != 0) return;
  auto const [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  std::printf(
      "{\"bench\": \"comm.all_reduce\", \"ranks\": %d, \"bytes\": %lld, \"pairs\": %d, \"ours_ms\": %.3f, "
      "\"mpi_ms\": %.3f, \"ratio\": %.3f, \"ratio_min\": %.3f, \"ratio_max\": %.3f}\n",
      world.size(), static_cast<long long>(bytes), pairs, median(ours), median(theirs), median(ratios), *low, *high);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    double const mib = argc > 1 ? std::atof(argv[1]) : 64;
    run(static_cast<std::int64_t>(mib * (1 << 20)), argc > 2 ? std::max(1, std::atoi(argv[2])) : 9);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    lamina::comm::abort_job(70);
  }
}
