// Collectives of f32: ours against MPI's own, interleaved in one run.
//   mpirun -n 2 perf.comm.collectives [all_reduce|reduce_scatter|all_gather|all] [KIB=16,64,256,1024,4096,65536]
//   [PAIRS=15]
// The size is that of the whole tensor. Small calls are timed in a row of REPEAT (4 MiB in all, at least 1, at most
// 200), each enqueued and waited for, as a program does that needs the result at once. The time is the slowest rank's.
// One JSON line per case from rank 0: medians per call, and the median and range of the ratios MPI / ours.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "lamina/base/text.hpp"
#include "lamina/comm/communicator.hpp"
#include "vendor/mpi/mpi.hpp"

namespace {

using lamina::DType;
using lamina::TensorRef;
using lamina::comm::Communicator;

double slowest_us(Communicator const& world, int repeat, std::function<void()> const& call) {
  world.barrier();
  auto const start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeat; ++i) call();
  auto const ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start);
  return 1e-3 * static_cast<double>(world.all_max(ns.count())) / repeat;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

void run(std::string const& what, std::int64_t bytes, int pairs) {
  auto const world = Communicator::world();
  auto const native = lamina::mpi::Comm::world();
  auto const part_count = std::max<std::int64_t>(1, bytes / 4 / world.size()), count = part_count * world.size();
  std::vector<float> whole(static_cast<std::size_t>(count)), part(static_cast<std::size_t>(part_count));
  std::vector<std::int64_t> rows;
  for (int r = 0; r <= world.size(); ++r) rows.push_back(r * part_count);
  TensorRef const all{whole.data(), {DType::f32, {count}}}, mine{part.data(), {DType::f32, {part_count}}};
  std::unique_ptr<lamina::device::Task> task;
  std::function<void()> theirs;
  if (what == "all_reduce") {
    task = world.make_all_reduce({all});
    theirs = [&] { lamina::mpi::native_all_reduce(native, whole.data(), count); };
  } else if (what == "reduce_scatter") {
    task = world.make_reduce_scatter({{all, mine, rows}});
    theirs = [&] { lamina::mpi::native_reduce_scatter(native, whole.data(), part.data(), part_count); };
  } else {
    task = world.make_all_gather({{all, mine, rows}});
    theirs = [&] { lamina::mpi::native_all_gather(native, part.data(), whole.data(), part_count); };
  }
  lamina::device::Service service;
  lamina::device::Stream stream(service);
  auto const ours = [&] {
    stream.enqueue(*task);
    stream.wait();
  };
  auto const repeat = static_cast<int>(std::clamp<std::int64_t>((std::int64_t{4} << 20) / bytes, 1, 200));
  std::vector<double> our_us, their_us, ratios;
  for (int i = -2; i < pairs; ++i) {  // two pairs to warm up
    auto const t = slowest_us(world, repeat, theirs), o = slowest_us(world, repeat, ours);
    if (i < 0) continue;
    our_us.push_back(o), their_us.push_back(t), ratios.push_back(t / o);
  }
  if (world.rank() != 0) return;
  auto const [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  std::printf(
      "{\"bench\": \"comm.%s\", \"ranks\": %d, \"bytes\": %lld, \"pairs\": %d, \"ours_us\": %.1f, \"mpi_us\": %.1f, "
      "\"ratio\": %.3f, \"ratio_min\": %.3f, \"ratio_max\": %.3f}\n",
      what.c_str(), world.size(), static_cast<long long>(bytes), pairs, median(our_us), median(their_us),
      median(ratios), *low, *high);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::string const what = argc > 1 ? argv[1] : "all";
    for (auto const& kib : lamina::split(argc > 2 ? argv[2] : "16,64,256,1024,4096,65536", ',')) {
      for (auto const* op : {"all_reduce", "reduce_scatter", "all_gather"}) {
        if (what != "all" && what != op) continue;
        run(op, std::atoll(std::string(kib).c_str()) << 10, argc > 3 ? std::max(1, std::atoi(argv[3])) : 15);
      }
    }
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    lamina::comm::abort_job(70);
  }
}
