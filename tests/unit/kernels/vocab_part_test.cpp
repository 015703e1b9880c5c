// A vocabulary cut over ranks: the parts put together are what the whole gives. Rows of padding hold NaN, so that
// reading one shows.
#include "lamina/kernels/vocab_part.hpp"

#include "lamina/kernels/embedding.hpp"
#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/softmax_rescale.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina::kernels {
namespace {

using test::all_near, test::Tensor;

struct Case {
  std::int64_t vocab;
  int ranks;
  DType dtype = DType::f32;
  std::int64_t rows = 13, model = 8;

  std::int64_t local() const { return (vocab + ranks - 1) / ranks; }
  VocabPart part(int rank) const { return {.first = rank * local(), .vocab = vocab}; }
};

void PrintTo(Case const& c, std::ostream* out) { *out << text(c.vocab, " words over ", c.ranks, ", ", c.dtype); }

/// Rows [first, first + local) of `whole`, NaN where it has none.
Tensor cut(Tensor const& whole, std::int64_t first, std::int64_t local) {
  auto shape = whole.spec().shape;
  auto const rows = shape[0], width = rows == 0 ? 0 : whole.spec().count() / rows;
  shape[0] = local;
  Tensor part(whole.spec().dtype, shape);
  for (std::int64_t i = 0; i < std::min(local, rows - first) * width; ++i) part.set(i, whole.get(first * width + i));
  return part;
}

/// The first rows of the parts, one after the other; what is behind them must be `behind`.
Tensor join_rows(std::vector<Tensor> const& parts, TensorSpec const& spec, double behind) {
  Tensor whole(spec);
  std::int64_t at = 0;
  for (auto const& p : parts) {
    for (std::int64_t i = 0; i < p.spec().count(); ++i, ++at) {
      if (at < spec.count()) {
        whole.set(at, p.get(i));
      } else {
        EXPECT_EQ(p.get(i), behind) << "padding, element " << at - spec.count();
      }
    }
  }
  return whole;
}

Tensor sum_of(std::vector<Tensor> const& parts) {
  auto sum = parts[0];
  for (std::size_t r = 1; r < parts.size(); ++r) {
    for (std::int64_t i = 0; i < sum.spec().count(); ++i) sum.set(i, sum.get(i) + parts[r].get(i));
  }
  return sum;
}

class VocabParts : public ::testing::TestWithParam<Case> {
 protected:
  Case const c = GetParam();
  device::Stream stream;
  Tensor ids = Tensor::integers({c.rows, 1}, 1, static_cast<std::uint32_t>(c.vocab));
};

TEST_P(VocabParts, of_an_embedding_add_up_to_it_bit_by_bit) {
  auto table = Tensor::random(DType::f32, {c.vocab, c.model}, 2),
       positions = Tensor::random(DType::f32, {3, c.model}, 3);
  for (bool const learned : {false, true}) {
    auto const at = learned ? positions.ref() : TensorRef{};
    for (bool const reference : {false, true}) {
      Tensor whole(DType::f32, {c.rows, 1, c.model});
      std::vector<Tensor> parts;
      auto const run = [&](EmbeddingArgs const& a) { reference ? embedding_reference(a) : embedding(stream, a); };
      run({.table = table, .ids = ids, .positions = at, .position = {}, .x = whole});
      for (int r = 0; r < c.ranks; ++r) {
        auto local = cut(table, r * c.local(), c.local());
        auto& x = parts.emplace_back(DType::f32, whole.spec().shape);
        auto const holds = r == 0 ? at : TensorRef{};
        run({.table = local, .ids = ids, .positions = holds, .position = {}, .x = x, .part = c.part(r)});
      }
      EXPECT_TRUE(sum_of(parts) == whole) << learned << reference;
    }
  }
}

TEST_P(VocabParts, of_an_embeddings_gradient_are_its_rows_bit_by_bit) {
  auto dx = Tensor::random(DType::f32, {c.rows, 1, c.model}, 4),
       before = Tensor::random(DType::f32, {c.vocab, c.model}, 5);
  auto positions = Tensor::random(DType::f32, {3, c.model}, 6);
  for (int const accumulate : {0, 3}) {
    for (bool const reference : {false, true}) {
      auto whole = before, whole_positions = positions;
      auto const run = [&](EmbeddingGradArgs const& a) {
        reference ? embedding_grad_reference(a) : embedding_grad(stream, a);
      };
      run({.dx = dx, .ids = ids, .dtable = whole, .dpositions = whole_positions, .accumulate = accumulate});
      std::vector<Tensor> parts;
      for (int r = 0; r < c.ranks; ++r) {
        auto& local = parts.emplace_back(cut(before, r * c.local(), c.local()));
        for (std::int64_t i = c.part(r).valid(c.local()) * c.model; i < local.spec().count(); ++i) local.set(i, 7);
        auto own_positions = positions;
        run({.dx = dx,
             .ids = ids,
             .dtable = local,
             .dpositions = own_positions,
             .accumulate = accumulate,
             .part = c.part(r)});
        EXPECT_TRUE(local.guarded());
        EXPECT_TRUE(own_positions == whole_positions) << "the same on every rank";
      }
      EXPECT_TRUE(join_rows(parts, whole.spec(), accumulate == 0 ? 0 : 7) == whole) << accumulate << reference;
    }
  }
}

/// The head of one rank, or of all in one.
struct Head {
  Tensor w, bias, max, sum, target, dx, dw, dbias;

  Head(Case const& c, Tensor const& all_w, Tensor const& all_bias, std::int64_t first, std::int64_t local)
      : w(cut(all_w, first, local)),
        bias(cut(all_bias, first, local)),
        max(DType::f32, {c.rows}),
        sum(DType::f32, {c.rows}),
        target(DType::f32, {c.rows}),
        dx(DType::f32, {c.rows, c.model}),
        dw(DType::f32, {local, c.model}),
        dbias(DType::f32, {local}) {
    for (auto* const t : {&dw, &dbias}) {
      for (std::int64_t i = 0; i < t->spec().count(); ++i) t->set(i, 0.5);
    }
  }
};

class HeadParts : public VocabParts {
 protected:
  Tensor x = Tensor::random(c.dtype, {c.rows, c.model}, 7, 2), w = Tensor::random(c.dtype, {c.vocab, c.model}, 8, 2),
         bias = Tensor::random(DType::f32, {c.vocab}, 9, 3), targets = ids,
         memory = Tensor(DType::u8, {(std::int64_t{6} << 20) + 4 * 16 * (2 * 1024 + c.model)});
  double const near = c.dtype == DType::bf16 ? 1.0 / 64 : 2e-5;

  void SetUp() override {
    for (std::int64_t r = 1; r < c.rows; r += 4) targets.set(r, -1);
  }
  void stats(Head& h, VocabPart part, bool reference) {
    HeadLossStatsArgs const a{.x = x,
                              .w = h.w,
                              .bias = h.bias,
                              .targets = targets,
                              .max = h.max,
                              .sum = h.sum,
                              .target = h.target,
                              .scratch = memory,
                              .part = part};
    reference ? head_loss_stats_reference(a) : head_loss_stats(stream, a);
  }
  void gradient(Head& h, Tensor& max, Tensor& sum, VocabPart part, int accumulate, bool reference) {
    HeadLossGradArgs const a{.x = x,
                             .w = h.w,
                             .bias = h.bias,
                             .targets = targets,
                             .max = max,
                             .sum = sum,
                             .dx = h.dx,
                             .dw = h.dw,
                             .dbias = h.dbias,
                             .scratch = memory,
                             .accumulate = accumulate,
                             .part = part};
    reference ? head_loss_grad_reference(a) : head_loss_grad(stream, a);
  }
  std::vector<Head> make_parts() const {
    std::vector<Head> parts;
    for (int r = 0; r < c.ranks; ++r) parts.emplace_back(c, w, bias, r * c.local(), c.local());
    return parts;
  }
};

template <class F>
std::vector<Tensor> each(std::vector<Head> const& parts, F const& member) {
  std::vector<Tensor> out;
  for (auto const& p : parts) out.push_back(p.*member);
  return out;
}

TEST_P(HeadParts, give_the_statistics_of_the_whole_after_a_rescaling) {
  for (bool const reference : {false, true}) {
    Head whole(c, w, bias, 0, c.vocab);
    stats(whole, {}, reference);
    auto parts = make_parts();
    Tensor max(DType::f32, {c.rows});
    for (std::int64_t i = 0; i < c.rows; ++i) max.set(i, -HUGE_VAL);
    for (int r = 0; r < c.ranks; ++r) {
      auto& p = parts[static_cast<std::size_t>(r)];
      stats(p, c.part(r), reference);
      for (std::int64_t i = 0; i < c.rows; ++i) max.set(i, std::max(max.get(i), p.max.get(i)));
    }
    EXPECT_TRUE(all_near(max, whole.max, 1e-6, 1e-6));
    for (auto& p : parts) {
      SoftmaxRescaleArgs const a{.sum = p.sum, .own_max = p.max, .max = max, .y = p.sum};
      reference ? softmax_rescale_reference(a) : softmax_rescale(stream, a);
    }
    EXPECT_TRUE(all_near(sum_of(each(parts, &Head::sum)), whole.sum, 1e-5)) << reference;
    EXPECT_TRUE(all_near(sum_of(each(parts, &Head::target)), whole.target, 1e-6, 1e-6)) << reference;
  }
}

TEST_P(HeadParts, give_the_gradients_of_the_whole_and_none_to_padding) {
  for (int const accumulate : {0, 6}) {
    for (bool const reference : {false, true}) {
      Head whole(c, w, bias, 0, c.vocab);
      stats(whole, {}, true);
      gradient(whole, whole.max, whole.sum, {}, accumulate, true);
      auto parts = make_parts();
      for (int r = 0; r < c.ranks; ++r) {
        auto& p = parts[static_cast<std::size_t>(r)];
        gradient(p, whole.max, whole.sum, c.part(r), accumulate, reference);
        EXPECT_TRUE(p.dw.guarded() && p.dbias.guarded());
      }
      double const behind = accumulate == 0 ? 0 : 0.5;
      EXPECT_TRUE(all_near(sum_of(each(parts, &Head::dx)), whole.dx, near, near));
      EXPECT_TRUE(all_near(join_rows(each(parts, &Head::dw), whole.dw.spec(), behind), whole.dw, near, near));
      EXPECT_TRUE(all_near(join_rows(each(parts, &Head::dbias), whole.dbias.spec(), behind), whole.dbias, near, near));
    }
  }
}

// Equal parts; parts with padding; parts that are padding only; more than one block of the vocabulary.
INSTANTIATE_TEST_SUITE_P(edges, VocabParts,
                         ::testing::Values(Case{18, 2}, Case{17, 2}, Case{17, 3}, Case{2, 3}, Case{1, 2}));
INSTANTIATE_TEST_SUITE_P(edges, HeadParts,
                         ::testing::Values(Case{18, 2}, Case{17, 2}, Case{17, 3}, Case{2, 3}, Case{1, 2},
                                           Case{17, 3, DType::bf16}, Case{2309, 2, DType::f32, 5, 4}));

TEST(HeadOfPadding, has_statistics_that_change_no_sum) {
  device::Stream stream;
  auto x = Tensor::random(DType::f32, {3, 4}, 1);
  Tensor w(DType::f32, {2, 4}), max(DType::f32, {3}), sum = max, target = max, memory(DType::u8, {8 << 20});
  auto targets = Tensor::integers({3}, 2, 4);
  head_loss_stats(stream, {.x = x,
                           .w = w,
                           .bias = {},
                           .targets = targets,
                           .max = max,
                           .sum = sum,
                           .target = target,
                           .scratch = memory,
                           .part = {.first = 4, .vocab = 4}});
  auto all_max = Tensor::of(DType::f32, {1, -2, 3});
  softmax_rescale(stream, {.sum = sum, .own_max = max, .max = all_max, .y = sum});
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(max.get(i), -HUGE_VAL);
    EXPECT_EQ(sum.get(i), 0);
    EXPECT_EQ(target.get(i), 0);
  }
}

TEST(SoftmaxRescale, leaves_the_bits_where_the_maxima_are_equal_and_matches_the_reference_elsewhere) {
  device::Stream stream;
  for (std::int64_t const rows : {0, 1, 16, 37, 20011}) {
    auto sum = Tensor::random(DType::f32, {rows}, 1, 20, 21), own = Tensor::random(DType::f32, {rows}, 2, 30),
         max = own;
    Tensor y(DType::f32, {rows}), expected = y;
    softmax_rescale(stream, {.sum = sum, .own_max = own, .max = own, .y = y});
    EXPECT_TRUE(y == sum);
    for (std::int64_t i = 0; i < rows; i += 2) max.set(i, own.get(i) + static_cast<double>(i % 90));
    softmax_rescale(stream, {.sum = sum, .own_max = own, .max = max, .y = y});
    softmax_rescale_reference({.sum = sum, .own_max = own, .max = max, .y = expected});
    EXPECT_TRUE(all_near(y, expected, 1e-5, 1e-37));  // the exponent, up to 90, is rounded to 2^-24 of itself
  }
}

TEST(VocabPartErrors, come_from_the_whole_vocabulary_not_from_the_part) {
  device::Stream stream;
  auto table = Tensor::random(DType::f32, {6, 3}, 1), ids = Tensor::integers({2, 2}, 2, 17);
  Tensor x(DType::f32, {2, 2, 3});
  ids.set(3, 16);
  EmbeddingArgs a{
      .table = table, .ids = ids, .positions = {}, .position = {}, .x = x, .part = {.first = 6, .vocab = 17}};
  embedding(stream, a);
  ids.set(3, 17);  // a row of padding of the last rank
  auto const error = test::error_of([&] { embedding(stream, a); });
  EXPECT_EQ(error.code, "kernels.embedding.id");
  EXPECT_EQ(error.expected, "0 .. 16");
}

}  // namespace
}  // namespace lamina::kernels
