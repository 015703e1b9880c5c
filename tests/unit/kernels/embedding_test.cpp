#include "lamina/kernels/embedding.hpp"

#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

struct Case {
  std::int64_t B, T, V, D, P;
};

struct Operands {
  explicit Operands(Case c)
      : table(Tensor::random(DType::f32, {c.V, c.D}, 1)),
        ids(Tensor::integers({c.B, c.T}, 2, static_cast<std::uint32_t>(c.V))),
        positions(Tensor::random(DType::f32, {c.P, c.D}, 3)),
        x(DType::f32, {c.B, c.T, c.D}),
        dx(Tensor::random(DType::f32, {c.B, c.T, c.D}, 4)),
        dtable(Tensor::random(DType::f32, {c.V, c.D}, 5)),
        dpositions(Tensor::random(DType::f32, {c.P, c.D}, 6)),
        position(Tensor::of(DType::i32, {static_cast<double>(c.P - c.T)})) {}
  Tensor table, ids, positions, x, dx, dtable, dpositions, position;

  kernels::EmbeddingArgs forward(bool with_positions, bool offset) {
    return {.table = table,
            .ids = ids,
            .positions = with_positions ? positions.ref() : TensorRef{},
            .position = offset ? position.ref() : TensorRef{},
            .x = x};
  }
  kernels::EmbeddingGradArgs grad(bool with_positions, int accumulate) {
    return {.dx = dx,
            .ids = ids,
            .dtable = dtable,
            .dpositions = with_positions ? dpositions.ref() : TensorRef{},
            .accumulate = accumulate};
  }
};

class EmbeddingKernel : public ::testing::TestWithParam<Case> {
 protected:
  device::Stream stream;
};

TEST_P(EmbeddingKernel, equals_the_reference) {
  for (int options : {0, 1, 2, 3}) {
    Operands fast(GetParam()), slow(GetParam());
    kernels::embedding(stream, fast.forward(options & 1, options & 2));
    kernels::embedding_reference(slow.forward(options & 1, options & 2));
    EXPECT_TRUE(all_near(fast.x, slow.x, 1e-6, 1e-7));
  }
}

TEST_P(EmbeddingKernel, gradient_matches_the_reference_with_and_without_accumulation) {
  for (int accumulate : {0, 1, 2, 3}) {
    bool const positions = accumulate != 1;
    Operands fast(GetParam()), slow(GetParam());
    kernels::embedding_grad(stream, fast.grad(positions, accumulate));
    kernels::embedding_grad_reference(slow.grad(positions, accumulate));
    EXPECT_TRUE(all_near(fast.dtable, slow.dtable, 1e-5, 1e-5));
    EXPECT_TRUE(all_near(fast.dpositions, slow.dpositions, 1e-5, 1e-5));
  }
}

INSTANTIATE_TEST_SUITE_P(edges, EmbeddingKernel,  // one token, one column, prime, wide, many of few ids
                         ::testing::Values(Case{1, 1, 1, 8, 1}, Case{3, 5, 7, 1, 9}, Case{2, 7, 11, 13, 7},
                                           Case{1, 3, 4, 1031, 5}, Case{4, 64, 3, 48, 70}));

TEST(Embedding, gives_the_same_bits_on_one_and_two_threads) {
  test::expect_same_bits_on_one_and_two_threads([] {
    Operands o({4, 100, 9, 100, 128});
    device::Stream stream;
    kernels::embedding(stream, o.forward(true, false));
    kernels::embedding_grad(stream, o.grad(true, 0));
    return std::vector{o.x, o.dtable, o.dpositions};
  });
}

TEST(Embedding, names_the_first_token_outside_of_the_vocabulary) {
  Operands o({2, 5, 7, 3, 5});
  o.ids.set(8, 7);
  device::Stream stream;
  auto const error = test::error_of([&] { kernels::embedding(stream, o.forward(false, false)); });
  EXPECT_EQ(error.code, "kernels.embedding.id");
  EXPECT_EQ(error.subject, "embedding: token 3 of sample 1");
  EXPECT_EQ(error.found, "id 7");
  o.ids.set(8, -1);
  EXPECT_EQ(test::error_of([&] { kernels::embedding_grad(stream, o.grad(false, 0)); }).code,
            "kernels.embedding_grad.id");
}

TEST(Embedding, refuses_positions_beyond_the_context) {
  Operands o({1, 5, 7, 3, 8});
  o.position.set(0, 4);
  device::Stream stream;
  EXPECT_EQ(test::error_of([&] { kernels::embedding(stream, o.forward(true, true)); }).code,
            "kernels.embedding.position");
}

}  // namespace
}  // namespace lamina
