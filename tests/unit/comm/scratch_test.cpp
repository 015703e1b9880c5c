#include <gtest/gtest.h>

#include <vector>

#include "comm/detail/exchange.hpp"
#include "comm/detail/reading_exchange.hpp"

namespace lamina::comm::detail {
namespace {

TEST(Scratch, is_what_plans_count_and_only_for_the_kinds_of_exchange_there_are) {
  for (int const ranks : {1, 2, 3, 7}) {
    auto const make = [&] {
      auto channel = std::make_shared<Channel>();
      channel->size = ranks;
      return channel;
    };
    std::vector<Share> const none(static_cast<std::size_t>(ranks), Share(4, ranks));
    auto const large = make(), gathering = make(), small = make();
    Exchange const reduce(large, "reduce_scatter", {.reduce = true, .gather = false}, DType::f32, Reduce::sum, none);
    EXPECT_EQ(large->pieces.bytes(), reduction_scratch_bytes(ranks));
    EXPECT_EQ(large->parts.bytes(), 0);
    Exchange const gather(gathering, "all_gather", {.reduce = false, .gather = true}, DType::f32, Reduce::sum, none);
    EXPECT_EQ(gathering->pieces.bytes(), reduction_scratch_bytes(ranks));
    auto const reading = make();
    ReadingExchange const read(reading, "all_gather", {.reduce = false, .gather = true}, DType::f32, Reduce::sum, none);
    EXPECT_EQ(reading->pieces.bytes(), reduction_scratch_bytes(ranks));
    std::vector<float> x(4);
    SmallAllReduce const all(small, {{x.data(), {DType::f32, {4}}}}, Reduce::sum);
    EXPECT_EQ(small->pieces.bytes(), 0);
    EXPECT_EQ(small->parts.bytes(), small_reduction_scratch_bytes(ranks));
    auto const* const before = small->parts.at(0);
    SmallAllReduce const again(small, {{x.data(), {DType::f32, {4}}}}, Reduce::sum);
    EXPECT_EQ(small->parts.at(0), before) << "one in flight would lose its memory";
  }
}

}  // namespace
}  // namespace lamina::comm::detail
