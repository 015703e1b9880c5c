// A job that saves or loads the test model, for tests that kill it: job save|load RUN_DIR STEP. `load` exits with 1
// when the newest valid checkpoint is not that of STEP, element for element.
#include <cstdio>
#include <string>

#include "lamina/base/error.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "support/checkpoint_cases.hpp"

int main(int, char** argv) {
  using namespace lamina;
  auto world = comm::Communicator::world();
  std::string const what = argv[1], run = argv[2];
  std::int64_t const step = std::stoll(argv[3]);
  try {
    auto shard = test::make_shard(test::Split::first_dim, world.rank(), world.size(), what == "save" ? step : -1);
    if (what == "save") {
      checkpoint::save(run, test::make_state(step), shard.pieces(), {.files = 2}, world);
      return 0;
    }
    auto const found = checkpoint::load(run, -1, shard.pieces(), world);
    auto const wrong = world.all_sum(shard.wrong(step) + static_cast<std::int64_t>(found.skipped.size()));
    if (found.state.step == step && wrong == 0) return 0;
    std::printf("found step %lld, %lld wrong\n", static_cast<long long>(found.state.step),
                static_cast<long long>(wrong));
    return 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
