#include "lamina/kernels/for_each_part.hpp"

#include "detail/elementwise.hpp"

namespace lamina::kernels {

void for_each_part(std::int64_t count, std::int64_t grain,
                   std::function<void(std::int64_t begin, std::int64_t end)> const& work) {
  static std::string const label = "lamina::kernels::for_each_part";
  detail::for_each_range(label, count, grain, [&](std::int64_t begin, std::int64_t end) { work(begin, end); });
}

}  // namespace lamina::kernels
