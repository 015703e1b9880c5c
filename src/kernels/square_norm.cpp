#include "lamina/kernels/square_norm.hpp"

#include <array>

#include "detail/check.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

struct Partial {
  double sum = 0;
  std::int64_t bad = 0;
};

// A fixed order: 2 chains of vectors, then their lanes.
Partial square_sum(float const* g, std::int64_t count) {
  Doubles sums[2] = {};
  Ints bad[2] = {};
  auto const add = [&](std::int64_t i, auto part, int chain) {
    Floats const x = load(g + i, part);
    auto const finite = (x - x) == 0.f;  // inf - inf and NaN are not
    Doubles const d = __builtin_convertvector(finite ? x : Floats{}, Doubles);
    sums[chain] += d * d;
    bad[chain] += finite + 1;  // true is -1
  };
  std::int64_t constexpr two = 2 * lanes;
  std::int64_t i = 0;
  for (; i + two <= count; i += two) add(i, Full{}, 0), add(i + lanes, Full{}, 1);
  for_vectors(i, count, [&](std::int64_t j, auto part) { add(j, part, 0); });
  Partial p;
  for (int k = 0; k < lanes; ++k) {
    p.sum += sums[0][k] + sums[1][k];
    p.bad += bad[0][k] + bad[1][k];
  }
  return p;
}

// At most 256 pieces of at least 16 Ki elements: by the size alone.
Partial square_sum_parallel(float const* g, std::int64_t count) {
  static std::string const label = "lamina::kernels::square_norm";
  auto const pieces = std::min<std::int64_t>(256, count / 16384);
  if (pieces <= 1) return square_sum(g, count);
  std::array<Partial, 256> partial;
  for_each_range(label, pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto p = begin; p < end; ++p) {
      auto const first = count * p / pieces;
      partial[p] = square_sum(g + first, count * (p + 1) / pieces - first);
    }
  });
  Partial all;
  for (std::int64_t p = 0; p < pieces; ++p) all.sum += partial[p].sum, all.bad += partial[p].bad;
  return all;
}

}  // namespace
}  // namespace detail

void square_norm(device::Stream& stream, SquareNormArgs const& a) {
  detail::Check const check{"square_norm"};
  for (auto const& g : a.g) {
    check.dtype("g", g, {DType::f32});
    check.present("g", g);
  }
  check.dtype("norm", a.norm, {DType::f64});
  check.count("norm", a.norm, 2);
  stream.wait();
  bool const add = (a.accumulate & 1) != 0;
  double sum = add ? a.norm.as<double>()[0] : 0;
  std::int64_t bad = 0;
  for (auto const& g : a.g) {
    auto const p = detail::square_sum_parallel(g.as<float>(), g.spec.count());
    sum += p.sum, bad += p.bad;
  }
  a.norm.as<double>()[0] = sum;
  a.norm.as<double>()[1] = (add ? a.norm.as<double>()[1] : 0) + static_cast<double>(bad);
}

}  // namespace lamina::kernels
