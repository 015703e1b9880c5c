#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <vector>

#include "lamina/data/token_file.hpp"

namespace lamina::data {
namespace {

template <class F>
void each_block(TokenFile const& file, F const& f) {
  std::vector<std::int32_t> block(1 << 16);
  auto const size = static_cast<std::int64_t>(block.size());
  for (std::int64_t first = 0; first < file.tokens(); first += size) {
    auto const n = std::min(size, file.tokens() - first);
    file.read(first, n, 0, block.data());
    f(block.data(), block.data() + n);
  }
}

}  // namespace

std::int64_t largest_token(TokenFile const& file) {
  std::int64_t largest = -1;
  each_block(file, [&](auto const* first, auto const* last) {
    largest = std::max<std::int64_t>(largest, *std::max_element(first, last));
  });
  return largest;
}

Description describe(TokenFile const& file) {
  Description d{.path = file.path,
                .format = file.format,
                .dtype = file.dtype,
                .bytes = file.bytes,
                .tokens = file.tokens(),
                .documents = file.documents,
                .largest = -1,
                .distinct = 0,
                .entropy_nats = 0};
  std::unordered_map<std::int32_t, std::int64_t> counts;
  each_block(file, [&](auto const* first, auto const* last) {
    for (auto const* t = first; t != last; ++t) ++counts[*t];
  });
  d.distinct = static_cast<std::int64_t>(counts.size());
  std::vector<std::int64_t> sorted;  // so that the sum does not depend on the hash order
  for (auto const& [token, count] : counts) {
    d.largest = std::max<std::int64_t>(d.largest, token);
    sorted.push_back(count);
  }
  std::sort(sorted.begin(), sorted.end());
  for (auto const count : sorted) {
    auto const p = static_cast<double>(count) / static_cast<double>(d.tokens);
    d.entropy_nats -= p * std::log(p);
  }
  return d;
}

}  // namespace lamina::data
