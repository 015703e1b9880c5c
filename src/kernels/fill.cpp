#include "lamina/kernels/fill.hpp"

#include <cstring>

#include "detail/elementwise.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class T>
void run(FillArgs const& a, T value) {
  static std::string const label = "lamina::kernels::fill";
  for_each_range(label, a.y.spec.count(), element_grain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(a.y.as<T>() + begin, a.y.as<T>() + end, value);
  });
}

}  // namespace
}  // namespace detail

void fill(device::Stream& stream, FillArgs const& a) {
  detail::Check const check{"fill"};
  check.dtype("y", a.y, {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64});
  check.present("y", a.y);
  stream.wait();
  switch (a.y.spec.dtype) {
    case DType::f32:
      return detail::run(a, static_cast<float>(a.value));
    case DType::f64:
      return detail::run(a, a.value);
    case DType::i32:
      return detail::run(a, static_cast<std::int32_t>(a.value));
    case DType::i64:
      return detail::run(a, static_cast<std::int64_t>(a.value));
    default:
      return detail::run(a, static_cast<std::uint16_t>(detail::to_bf16(detail::splat(static_cast<float>(a.value)))[0]));
  }
}

void zero(device::Stream& stream, ZeroArgs const& a) {
  static std::string const label = "lamina::kernels::zero";
  detail::Check{"zero"}.present("y", a.y);
  stream.wait();
  detail::for_each_range(label, a.y.spec.bytes(), 4 * detail::element_grain, [&](std::int64_t begin, std::int64_t end) {
    std::memset(a.y.as<char>() + begin, 0, static_cast<std::size_t>(end - begin));
  });
}

}  // namespace lamina::kernels
