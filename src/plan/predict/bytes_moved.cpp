#include "lamina/plan/bytes_moved.hpp"

#include "plan/detail/traffic.hpp"

namespace lamina::plan {

std::int64_t bytes_moved(Plan const& plan) {
  std::int64_t bytes = 0;
  for (auto const& row : traffic(plan)) bytes += row.bytes;
  return bytes;
}

}  // namespace lamina::plan
