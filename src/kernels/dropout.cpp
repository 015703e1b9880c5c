#include "lamina/kernels/dropout.hpp"

#include "detail/elementwise.hpp"
#include "detail/random.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

/// Where the elements of x are in the whole tensor: in runs that lie side by side there too.
struct Runs {
  std::uint64_t first;       ///< index of element 0
  std::int64_t run, stride;  ///< elements of a run, and from run to run in the whole

  Runs(DropoutArgs const& a, std::uint64_t first_sample) {
    auto const& s = a.x.spec.shape;
    auto const inner = s.count(a.split_dim + 1, s.ndim());
    bool const whole = a.split_dim == 0;
    run = whole ? s.count() : s[a.split_dim] * inner;
    stride = whole ? run : a.extent * inner;
    auto const per_sample = whole ? inner : s.count(1, a.split_dim) * stride;
    first = first_sample * static_cast<std::uint64_t>(per_sample) + static_cast<std::uint64_t>(a.first * inner);
  }

  void factors(DropoutMask const& mask, std::int64_t begin, std::int64_t count, float* out) const {
    for (std::int64_t done = 0; done < count;) {
      auto const at = begin + done, in_run = at % run, n = std::min(count - done, run - in_run);
      mask.factors(first + static_cast<std::uint64_t>(at / run * stride + in_run), n, out + done);
      done += n;
    }
  }
};

void check_part(Check const& check, DropoutArgs const& a) {
  auto const& s = a.x.spec.shape;
  bool const sound = a.split_dim == 0 ? a.first == 0 && a.extent == 0
                                      : a.split_dim > 0 && a.split_dim < s.ndim() && a.first >= 0 &&
                                            a.first + s[a.split_dim] <= a.extent;
  if (sound) return;
  fail({.code = text("kernels.", check.op, ".shape"),
        .subject = text(check.op, ": part of a larger tensor"),
        .found = text(a.x.spec, " from ", a.first, " on in dim ", a.split_dim, " of ", a.extent),
        .expected = "a dim after the first, and a part inside of it",
        .fix = "cut the dim in equal parts"});
}

template <class T>
void run(DropoutArgs const& a) {
  static std::string const label = "lamina::kernels::dropout";
  auto const count = a.x.spec.count();
  if (count == 0) return;
  DropoutMask const mask(a.rng, a.p, a.operation, a.sample);
  Runs const runs(a, mask.first_sample);
  for_each_range(label, count, 1024, [&](std::int64_t begin, std::int64_t end) {
    float factor[1024];
    for (auto at = begin; at < end; at += 1024) {
      auto const n = std::min<std::int64_t>(1024, end - at);
      runs.factors(mask, at, n, factor);
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
  detail::check_part(check, a);
  check.dtype("rng", a.rng, {DType::i64});
  check.count("rng", a.rng, 3);
  stream.wait();
  a.x.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

}  // namespace lamina::kernels
