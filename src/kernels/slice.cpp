#include "lamina/kernels/slice.hpp"

#include <cstring>

#include "detail/check.hpp"
#include "detail/parallel.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {
namespace {

void check_part(SliceArgs const& a) {
  detail::Check const check{"slice"};
  check.dtype("y", a.y, {a.x.spec.dtype});
  check.ndim("x", a.x, a.dim + 1);
  check.ndim("y", a.y, a.dim + 1);
  auto shape = a.x.spec.shape;
  shape[a.dim] = a.y.spec.shape[a.dim];
  check.shape("y", a.y, shape);
  if (a.first >= 0 && a.first + shape[a.dim] <= a.x.spec.shape[a.dim]) return;
  fail({.code = "kernels.slice.shape",
        .subject = "slice: part",
        .found = text(a.first, " .. ", a.first + shape[a.dim] - 1, " of dim ", a.dim),
        .expected = text("within ", a.x.spec),
        .fix = "cut the dim in equal parts"});
}

}  // namespace

void slice(device::Stream& stream, SliceArgs const& a) {
  static std::string const label = "lamina::kernels::slice";
  check_part(a);
  stream.wait();
  auto const &from = a.x.spec.shape, &to = a.y.spec.shape;
  auto const inner = from.count(a.dim + 1, from.ndim()) * sizeof_dtype(a.x.spec.dtype);
  auto const run = to[a.dim] * inner, stride = from[a.dim] * inner;  // bytes that lie side by side in both
  if (run == 0) return;
  auto const* const x = a.x.as<char>() + a.first * inner;
  detail::for_each_range(label, a.y.spec.bytes(), 65536, [&](std::int64_t begin, std::int64_t end) {
    for (auto at = begin; at < end;) {
      auto const in_run = at % run, bytes = std::min(run - in_run, end - at);
      std::memcpy(a.y.as<char>() + at, x + at / run * stride + in_run, static_cast<std::size_t>(bytes));
      at += bytes;
    }
  });
}

}  // namespace lamina::kernels
