#include "lamina/kernels/dropout.hpp"

#include "detail/elementwise.hpp"
#include "detail/random.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class T>
void run(DropoutArgs const& a) {
  static std::string const label = "lamina::kernels::dropout";
  auto const count = a.x.spec.count(), samples = a.x.spec.shape[0];
  if (count == 0) return;
  DropoutMask const mask(a.rng, a.p, a.operation, a.sample);
  auto const first = mask.first_sample * static_cast<std::uint64_t>(count / samples);
  for_each_range(label, count, 1024, [&](std::int64_t begin, std::int64_t end) {
    float factor[1024];
    for (auto at = begin; at < end; at += 1024) {
      auto const n = std::min<std::int64_t>(1024, end - at);
      mask.factors(first + static_cast<std::uint64_t>(at), n, factor);
      auto const* x = a.x.as<T>() + at;
      auto* y = a.y.as<T>() + at;
      for_vectors(0, n, [&](std::int64_t i, auto part) {
        Floats const f = load(factor + i, part);
        store(y + i, f == 0.f ? Floats{} : load(x + i, part) * f, part);  // a dropped inf or NaN is 0
      });
    }
  });
}

}  // namespace
}  // namespace detail

void dropout(device::Stream& stream, DropoutArgs const& a) {
  detail::Check const check{"dropout"};
  detail::check_alike(check, "x", a.x, {{"y", &a.y}});
  check.ndim("x", a.x, 1);
  check.probability(a.p);
  check.dtype("rng", a.rng, {DType::i64});
  check.count("rng", a.rng, 3);
  stream.wait();
  a.x.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

}  // namespace lamina::kernels
