#include <gtest/gtest.h>

#include "lamina/kernels/runtime.hpp"
#include "support/train_run.hpp"

namespace lamina {
namespace {

TEST(Initialise, gives_the_same_bits_on_any_number_of_threads) {
  kernels::Runtime const runtime(3);
  auto config = test::small_run();
  config.model.hidden = 72, config.model.vocab = 257;  // 18,504 elements: five grains, the last one short
  test::FormulaTokens const source(7, config.model.context, config.model.vocab);
  for (int const threads : {1, 2, 3}) {
    kernels::set_threads(threads);
    test::TrainRun run(config, comm::Communicator::self(), source);
    auto const graph = train::build_graphs(run.session.config(), plan::Purpose::train, {}).train;
    for (auto const& name : run.parameters()) {
      auto const& value = graph.value(graph.find(name, Role::parameter));
      std::vector<float> expected(static_cast<std::size_t>(value.spec.count()));
      models::fill_initial(value, config.run.seed, 0, value.spec.count(), expected.data());
      auto const found = run.values(name, Role::parameter);
      EXPECT_TRUE(std::ranges::equal(found, expected)) << name << ", " << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace lamina
