#include "program/detail/order.hpp"

#include <algorithm>

namespace lamina::program::detail {

Order::Order(Program const& program) : streams_(program.streams.size()) {
  auto const n = program.steps.size();
  stream_.resize(n), position_.resize(n), clocks_.resize(n * streams_);
  std::vector<int> last(streams_, -1);  // latest step of each stream so far
  auto const join = [&](int* clock, int earlier) {
    int const* other = &clocks_[static_cast<std::size_t>(earlier) * streams_];
    for (std::size_t s = 0; s < streams_; ++s) clock[s] = std::max(clock[s], other[s]);
    auto const own = static_cast<std::size_t>(stream_[static_cast<std::size_t>(earlier)]);
    clock[own] = std::max(clock[own], position_[static_cast<std::size_t>(earlier)]);
  };
  for (std::size_t i = 0; i < n; ++i) {
    auto const& step = program.steps[i];
    auto const s = static_cast<std::size_t>(step.stream);
    stream_[i] = step.stream;
    position_[i] = last[s] < 0 ? 1 : position_[static_cast<std::size_t>(last[s])] + 1;
    int* clock = &clocks_[i * streams_];
    if (last[s] >= 0) join(clock, last[s]);
    for (int const earlier : step.after) join(clock, earlier);
    last[s] = static_cast<int>(i);
  }
}

}  // namespace lamina::program::detail
