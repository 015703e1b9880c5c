// Kernels with exact sums: against the plain ones, and the same bits however what they sum over is cut.
#include "lamina/kernels/exact.hpp"

#include <gmock/gmock.h>

#include <limits>
#include <numeric>

#include "lamina/base/error.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using kernels::Exact, kernels::FixedPoint;
using test::all_near, test::Tensor;

constexpr auto f32 = DType::f32, f64 = DType::f64, i32 = DType::i32;
constexpr FixedPoint sums{36, 1024}, words{40, 2048};

Tensor zeros(Shape shape) {
  Tensor t(f64, shape);
  for (std::int64_t i = 0; i < t.spec().count(); ++i) t.set(i, 0);
  return t;
}

Tensor sum_of(Tensor const& a, Tensor const& b) {
  auto c = a;
  for (std::int64_t i = 0; i < c.spec().count(); ++i) c.set(i, a.get(i) + b.get(i));
  return c;
}

struct Sizes {
  std::int64_t rows, n, k;
};
constexpr Sizes sizes[] = {{1, 1, 1}, {3, 5, 7}, {33, 31, 65}, {17, 70, 300}, {64, 2, 513}};

TEST(ExactLinear, is_the_plain_product_at_odd_sizes) {
  device::Stream stream;
  for (auto const dtype : {f32, DType::bf16}) {
    for (auto const& s : sizes) {
      SCOPED_TRACE(text(s.rows, " x ", s.n, " x ", s.k, ' ', dtype));
      auto x = Tensor::random(dtype, {1, s.rows, s.k}, 1), dy = Tensor::random(dtype, {1, s.rows, s.n}, 2);
      auto w = Tensor::random(f32, {s.n, s.k}, 3), bias = Tensor::random(f32, {s.n}, 4);
      double const near = 1e-9;
      Tensor y(f64, {1, s.rows, s.n}), y1 = y, dx(f64, {1, s.rows, s.k}), dx1 = dx;
      kernels::linear_exact(stream, {{.x = x, .w = w, .bias = bias, .y = y, .scratch = {}}, sums});
      kernels::linear_reference({.x = x, .w = w, .bias = bias, .y = y1, .scratch = {}});
      EXPECT_TRUE(all_near(y, y1, 0, near));
      kernels::linear_grad_input_exact(stream, {{.dy = dy, .w = w, .dx = dx, .scratch = {}}, sums});
      kernels::linear_grad_input_reference({.dy = dy, .w = w, .dx = dx1, .scratch = {}});
      EXPECT_TRUE(all_near(dx, dx1, 0, near));
      auto dw = zeros({s.n, s.k}), dw1 = dw, db = zeros({s.n}), db1 = db;
      for (int const accumulate : {0, 3, 1}) {
        kernels::linear_grad_weight_exact(
            stream, {{.dy = dy, .x = x, .dw = dw, .dbias = db, .scratch = {}, .accumulate = accumulate}, sums});
        kernels::linear_grad_weight_reference(
            {.dy = dy, .x = x, .dw = dw1, .dbias = db1, .scratch = {}, .accumulate = accumulate});
      }
      EXPECT_TRUE(all_near(dw, dw1, 0, near));
      EXPECT_TRUE(all_near(db, db1, 0, near));
    }
  }
}

TEST(ExactLinear, has_the_same_bits_however_its_sums_are_cut) {
  device::Stream stream;
  std::int64_t const rows = 19, n = 23, k = 301;
  for (auto const dtype : {f32, DType::bf16}) {
    auto x = Tensor::random(dtype, {1, rows, k}, 1, 3), dy = Tensor::random(dtype, {1, rows, n}, 2, 3);
    auto w = Tensor::random(f32, {n, k}, 3, 3), bias = Tensor::random(f32, {n}, 4);
    auto const linear = [&](Tensor a, Tensor b, bool holder) {
      Tensor y(f64, {1, rows, n});
      kernels::linear_exact(stream,
                            {{.x = a, .w = b, .bias = holder ? bias.ref() : TensorRef{}, .y = y, .scratch = {}}, sums});
      return y;
    };
    auto const whole = linear(x, w, true);
    for (std::int64_t const at : {1, 8, 150, 256, 300}) {
      EXPECT_TRUE(whole == sum_of(linear(cut(x, 2, 0, at), cut(w, 1, 0, at), true),
                                  linear(cut(x, 2, at, k - at), cut(w, 1, at, k - at), false)))
          << at;
    }
    auto const weight = [&](std::int64_t at) {  // two micro-batches
      auto dw = zeros({n, k}), db = zeros({n});
      for (auto const& [first, count] : {std::pair{std::int64_t{0}, at}, std::pair{at, rows - at}}) {
        if (count == 0) continue;
        auto a = cut(dy, 1, first, count), b = cut(x, 1, first, count);
        kernels::linear_grad_weight_exact(
            stream, {{.dy = a, .x = b, .dw = dw, .dbias = db, .scratch = {}, .accumulate = 3}, sums});
      }
      return std::pair{dw, db};
    };
    for (std::int64_t const at : {1, 7, 18}) EXPECT_TRUE(weight(at) == weight(rows)) << at;
    test::expect_same_bits_on_one_and_two_threads([&] { return weight(5); });
  }
}

TEST(ExactLinear, refuses_sums_without_room_and_passes_on_what_is_not_finite) {
  device::Stream stream;
  auto x = Tensor::random(f32, {1, 3, 40}, 1), w = Tensor::random(f32, {2, 40}, 2);
  Tensor y(f64, {1, 3, 2});
  auto const run = [&](FixedPoint f) {
    kernels::linear_exact(stream, {{.x = x, .w = w, .bias = {}, .y = y, .scratch = {}}, f});
  };
  x.set(41, 5000), w.set(1, 1);
  EXPECT_EQ(test::error_of([&] { run(sums); }).code, "kernels.exact.range");
  x.set(41, 1e30);  // a term that the grid does not hold
  EXPECT_EQ(test::error_of([&] { run({36, 1e300}); }).code, "kernels.exact.range");
  x.set(41, std::numeric_limits<double>::infinity());
  run(sums);
  EXPECT_FALSE(std::isfinite(y.get(2)));
  EXPECT_TRUE(std::isfinite(y.get(0)));
  x.set(41, std::nan(""));
  run(sums);
  EXPECT_TRUE(std::isnan(y.get(2)));
}

TEST(ExactLinear, holds_large_sums_term_by_term_where_a_bound_would_refuse_them) {
  device::Stream stream;
  std::int64_t const k = 600;
  auto x = Tensor::random(f32, {1, 2, k}, 1), w = Tensor::random(f32, {3, k}, 2);
  x.set(5, 30000), x.set(400, 29999), w.set(5, 1), w.set(400, -1);  // a large sum that shrinks again
  auto const run = [&](Tensor a, Tensor b) {
    Tensor y(f64, {1, 2, 3});
    kernels::linear_exact(stream, {{.x = a, .w = b, .bias = {}, .y = y, .scratch = {}}, {33, 1e6}});
    return y;
  };
  Tensor plain(f64, {1, 2, 3});
  kernels::linear_reference({.x = x, .w = w, .bias = {}, .y = plain, .scratch = {}});
  EXPECT_TRUE(all_near(run(x, w), plain, 0, 1e-7));
  EXPECT_TRUE(run(x, w) ==
              sum_of(run(cut(x, 2, 0, 399), cut(w, 1, 0, 399)), run(cut(x, 2, 399, 201), cut(w, 1, 399, 201))));
}

struct Head {
  std::int64_t rows = 21, vocab = 37, model = 9;
  Tensor x, w, bias = Tensor::random(f32, {vocab}, 3), targets = Tensor::integers({1, rows}, 4, 37);
  explicit Head(DType dtype)
      : x(Tensor::random(dtype, {1, rows, model}, 1, 2)), w(Tensor::random(dtype, {vocab, model}, 2)) {
    targets.set(3, -1);
  }
};

/// What one rank, or several with a part of the vocabulary each, make of the head.
struct HeadResult {
  Tensor max, sum, target, dx, dw, dbias;
  friend bool operator==(HeadResult const&, HeadResult const&) = default;
};

HeadResult head(Head& h, std::int64_t ranks) {
  device::Stream stream;
  Tensor scratch(DType::u8, {12 * h.rows * h.vocab});
  Shape const rows{1, h.rows};
  HeadResult r{Tensor(f32, rows),         zeros(rows),     zeros(rows), zeros({1, h.rows, h.model}),
               zeros({h.vocab, h.model}), zeros({h.vocab})};
  auto const local = (h.vocab + ranks - 1) / ranks;
  struct Part {
    Tensor w, bias;
    kernels::VocabPart part;
  };
  std::vector<Part> parts;
  for (std::int64_t p = 0; p < ranks; ++p) {  // padded at the end
    Part part{
        Tensor::random(h.w.spec().dtype, {local, h.model}, 9), Tensor::random(f32, {local}, 9), {p * local, h.vocab}};
    for (std::int64_t v = 0; v < local && p * local + v < h.vocab; ++v) {
      part.bias.set(v, h.bias.get(p * local + v));
      for (std::int64_t d = 0; d < h.model; ++d) part.w.set(v * h.model + d, h.w.get((p * local + v) * h.model + d));
    }
    parts.push_back(std::move(part));
  }
  for (auto& p : parts) {
    Tensor max(f32, rows), sum(f32, rows), target(f32, rows);
    kernels::head_loss_stats_exact(stream, {{.x = h.x,
                                             .w = p.w,
                                             .bias = p.bias,
                                             .targets = h.targets,
                                             .max = max,
                                             .sum = sum,
                                             .target = target,
                                             .scratch = scratch,
                                             .part = p.part},
                                            {},
                                            sums});
    for (std::int64_t i = 0; i < h.rows; ++i) {
      r.max.set(i, &p == &parts.front() ? max.get(i) : std::max(max.get(i), r.max.get(i)));
      r.target.set(i, r.target.get(i) + target.get(i));
    }
  }
  for (auto& p : parts) {
    Tensor sum(f64, rows);
    kernels::head_loss_sum_exact(
        stream, {{.x = h.x, .w = p.w, .bias = p.bias, .max = r.max, .sum = sum, .scratch = scratch, .part = p.part},
                 words,
                 sums});
    r.sum = sum_of(r.sum, sum);
  }
  Tensor sum(f32, rows);
  for (std::int64_t i = 0; i < h.rows; ++i) sum.set(i, r.sum.get(i));
  for (std::size_t q = 0; q < parts.size(); ++q) {
    auto& p = parts[q];
    Tensor dx(f64, {1, h.rows, h.model}), dw(f64, {local, h.model}), dbias(f64, {local});
    kernels::head_loss_grad_exact(stream, {{.x = h.x,
                                            .w = p.w,
                                            .bias = p.bias,
                                            .targets = h.targets,
                                            .max = r.max,
                                            .sum = sum,
                                            .dx = dx,
                                            .dw = dw,
                                            .dbias = dbias,
                                            .scratch = scratch,
                                            .part = p.part},
                                           sums,
                                           sums});
    r.dx = sum_of(r.dx, dx);
    for (std::int64_t v = 0; v < local; ++v) {
      auto const word = static_cast<std::int64_t>(q) * local + v;
      if (word >= h.vocab) {
        EXPECT_EQ(dw.get(v * h.model), 0) << "padding";
        continue;
      }
      r.dbias.set(word, dbias.get(v));
      for (std::int64_t d = 0; d < h.model; ++d) r.dw.set(word * h.model + d, dw.get(v * h.model + d));
    }
  }
  return r;
}

TEST(ExactHead, has_the_same_bits_however_the_vocabulary_is_cut) {
  for (auto const dtype : {f32, DType::bf16}) {
    Head h(dtype);
    auto const whole = head(h, 1);
    for (std::int64_t const ranks : {2, 3, 5, 20, 37}) EXPECT_TRUE(head(h, ranks) == whole) << ranks;
  }
}

TEST(ExactHead, is_the_plain_head) {
  Head h(f32);
  auto const exact = head(h, 1);
  Shape const rows{1, h.rows};
  Tensor max(f32, rows), sum(f32, rows), target(f32, rows);
  kernels::head_loss_stats_reference({.x = h.x,
                                      .w = h.w,
                                      .bias = h.bias,
                                      .targets = h.targets,
                                      .max = max,
                                      .sum = sum,
                                      .target = target,
                                      .scratch = {}});
  Tensor dx(f64, {1, h.rows, h.model}), dw(f64, {h.vocab, h.model}), dbias(f64, {h.vocab});
  kernels::head_loss_grad_reference({.x = h.x,
                                     .w = h.w,
                                     .bias = h.bias,
                                     .targets = h.targets,
                                     .max = max,
                                     .sum = sum,
                                     .dx = dx,
                                     .dw = dw,
                                     .dbias = dbias,
                                     .scratch = {}});
  EXPECT_TRUE(all_near(exact.max, max, 1e-7));
  for (std::int64_t i = 0; i < h.rows; ++i) {
    EXPECT_NEAR(exact.sum.get(i), sum.get(i), 1e-6 * sum.get(i));
    EXPECT_NEAR(exact.target.get(i), target.get(i), 1e-6);
  }
  EXPECT_TRUE(all_near(exact.dx, dx, 1e-6, 1e-6));
  EXPECT_TRUE(all_near(exact.dw, dw, 1e-6, 1e-6));
  EXPECT_TRUE(all_near(exact.dbias, dbias, 1e-6, 1e-6));
}

/// All sums over rows, in two calls that add: rows [0, at), then the others. In the order of their names.
std::vector<Tensor> row_sums(std::int64_t at) {
  device::Stream stream;
  std::int64_t const rows = 29, columns = 11, words_here = 13;
  auto x = Tensor::random(f32, {rows, 1, columns}, 1), dy = Tensor::random(f32, {rows, 1, columns}, 2);
  auto scale = Tensor::random(f32, {columns}, 3), mean = Tensor::random(f32, {rows, 1}, 4, 0.1);
  auto rstd = Tensor::random(f32, {rows, 1}, 5, 0.5, 2), ids = Tensor::integers({rows, 1}, 6, words_here);
  auto targets = Tensor::integers({rows, 1}, 7, static_cast<std::uint32_t>(columns));
  auto sum = Tensor::random(f32, {rows, 1}, 8, 1, 3);
  targets.set(1, -1);
  auto dscale = zeros({columns}), dshift = dscale, table = zeros({words_here, columns}),
       positions = zeros({3, columns});
  auto loss = zeros({2}), cross = loss, mse = loss, norm = zeros({4});
  for (auto const& [first, count] : {std::pair{std::int64_t{0}, at}, std::pair{at, rows - at}}) {
    if (count == 0) continue;
    auto const part = [&, f = first, n = count](Tensor const& t) { return cut(t, 0, f, n); };
    auto px = part(x), pdy = part(dy), pmean = part(mean), prstd = part(rstd), pids = part(ids), pt = part(targets);
    auto psum = part(sum);
    Tensor dx(f32, {count, 1, columns}), counted(i32, {count});
    for (std::int64_t i = 0; i < count; ++i) counted.set(i, pt.get(i));
    kernels::layer_norm_grad_exact(stream, {{.dy = pdy,
                                             .x = px,
                                             .scale = scale,
                                             .mean = pmean,
                                             .rstd = prstd,
                                             .residual = {},
                                             .dx = dx,
                                             .dscale = dscale,
                                             .dshift = dshift,
                                             .scratch = {},
                                             .accumulate = 6},
                                            sums});
    kernels::embedding_grad_exact(
        stream, {{.dx = pdy, .ids = pids, .dtable = table, .dpositions = positions, .accumulate = 3}, sums});
    kernels::loss_sum_exact(
        stream, {{.max = pmean, .sum = psum, .target = prstd, .targets = pt, .loss = loss, .accumulate = 1}, sums});
    kernels::cross_entropy_exact(stream, {{.x = px, .targets = pt, .loss = cross, .accumulate = 1}, sums});
    kernels::mse_exact(stream, {{.x = px, .y = pdy, .counted = counted, .loss = mse, .accumulate = 1}, sums});
    TensorRef const g[] = {px.ref(), pdy.ref()};
    kernels::square_norm_exact(stream, {.g = g, .norm = norm, .accumulate = 1});
  }
  return {dscale, dshift, table, positions, loss, cross, mse, norm};
}

TEST(ExactSums, over_rows_have_the_same_bits_however_the_rows_are_cut) {
  auto const whole = row_sums(29);
  for (std::int64_t const at : {1, 2, 13, 28}) EXPECT_TRUE(row_sums(at) == whole) << at;
  test::expect_same_bits_on_one_and_two_threads([] { return row_sums(7); });
}

TEST(ExactSums, over_rows_are_those_of_the_plain_kernels) {
  auto const exact = row_sums(29);
  std::int64_t const rows = 29, columns = 11;
  auto x = Tensor::random(f32, {rows, 1, columns}, 1), dy = Tensor::random(f32, {rows, 1, columns}, 2);
  auto scale = Tensor::random(f32, {columns}, 3), mean = Tensor::random(f32, {rows, 1}, 4, 0.1);
  auto rstd = Tensor::random(f32, {rows, 1}, 5, 0.5, 2), ids = Tensor::integers({rows, 1}, 6, 13);
  auto targets = Tensor::integers({rows, 1}, 7, static_cast<std::uint32_t>(columns));
  auto sum = Tensor::random(f32, {rows, 1}, 8, 1, 3);
  targets.set(1, -1);
  Tensor dx(f32, {rows, 1, columns}), dscale(f64, {columns}), dshift = dscale, table(f64, {13, columns});
  Tensor positions(f64, {3, columns}), loss(f64, {2}), cross = loss, mse = loss, norm = loss;
  kernels::layer_norm_grad_reference({.dy = dy,
                                      .x = x,
                                      .scale = scale,
                                      .mean = mean,
                                      .rstd = rstd,
                                      .residual = {},
                                      .dx = dx,
                                      .dscale = dscale,
                                      .dshift = dshift,
                                      .scratch = {}});
  kernels::embedding_grad_reference({.dx = dy, .ids = ids, .dtable = table, .dpositions = positions});
  kernels::loss_sum_reference({.max = mean, .sum = sum, .target = rstd, .targets = targets, .loss = loss});
  kernels::cross_entropy_reference({.x = x, .targets = targets, .loss = cross});
  Tensor counted(i32, {rows});
  for (std::int64_t i = 0; i < rows; ++i) counted.set(i, targets.get(i));
  kernels::mse_reference({.x = x, .y = dy, .counted = counted, .loss = mse});
  TensorRef const g[] = {x.ref(), dy.ref()};
  kernels::square_norm_reference({.g = g, .norm = norm});
  Tensor const* const plain[] = {&dscale, &dshift, &table, &positions, &loss, &cross, &mse};
  for (std::size_t i = 0; i < 7; ++i) EXPECT_TRUE(all_near(exact[i], *plain[i], 1e-6, 1e-6)) << i;
  EXPECT_NEAR(exact[7].get(0) + exact[7].get(2) + exact[7].get(3), norm.get(0), 1e-9);
}

TEST(ExactSums, of_squares_keep_small_ones_beside_large_ones_and_count_what_is_not_finite) {
  device::Stream stream;
  auto g = Tensor::of(f64, {3e6, 1e-6, std::nan(""), -2e-7, std::numeric_limits<double>::infinity()});
  auto norm = zeros({4});
  TensorRef const list[] = {g.ref()};
  kernels::square_norm_exact(stream, {.g = list, .norm = norm});
  EXPECT_EQ(norm.get(0), 9e12);
  EXPECT_EQ(norm.get(1), 2);
  EXPECT_NEAR(norm.get(2) + norm.get(3), 1.04e-12, 1e-14);
}

}  // namespace
}  // namespace lamina
