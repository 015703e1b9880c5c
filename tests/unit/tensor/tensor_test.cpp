#include "lamina/tensor/tensor.hpp"

#include <gtest/gtest.h>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/tensor/attributes.hpp"
#include "lamina/tensor/packed.hpp"
#include "lamina/tensor/reduction.hpp"
#include "lamina/tensor/role.hpp"

namespace lamina {
namespace {

template <class F>
std::string code_of(F const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.info().code;
  }
  return "none";
}

TEST(Shape, counts_elements_of_any_number_of_dims) {
  EXPECT_EQ(Shape{}.count(), 1) << "a scalar has one element";
  EXPECT_EQ(Shape{}.ndim(), 0);
  EXPECT_EQ((Shape{7}.count()), 7);
  EXPECT_EQ((Shape{2, 3, 5}.count()), 30);
  EXPECT_EQ((Shape{2, 0, 5}.count()), 0);
  EXPECT_EQ((Shape{2, 3, 5}.count(1, 3)), 15);
  EXPECT_EQ((Shape{2, 3, 5}.count(1, 1)), 1);
  EXPECT_EQ((Shape{2, 3, 5}.back()), 5);
}

TEST(Shape, compares_by_dims_and_extents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_NE(Shape{}, Shape{1});
}

TEST(Shape, prints_as_a_list) {
  EXPECT_EQ(text(Shape{2, 3}), "[2, 3]");
  EXPECT_EQ(text(Shape{}), "[]");
  EXPECT_EQ(text(TensorSpec{DType::bf16, {4, 1}}), "bf16[4, 1]");
}

TEST(Shape, refuses_what_no_memory_holds) {
  EXPECT_EQ(code_of([] { Shape{1, 1, 1, 1, 1, 1, 1}; }), "tensor.shape.dims");
  EXPECT_EQ(code_of([] { Shape{-1}; }), "tensor.shape.dims");
  EXPECT_EQ(code_of([] { Shape{1 << 30, 1 << 30, 1 << 30}.count(); }), "tensor.shape.overflow");
  EXPECT_EQ((Shape{1 << 30, 1 << 30}.count()), std::int64_t{1} << 60);
}

TEST(DType, knows_name_and_size_of_each) {
  struct Row {
    DType type;
    std::string_view name;
    std::int64_t bytes;
  };
  for (auto const& r :
       {Row{DType::f32, "f32", 4}, Row{DType::bf16, "bf16", 2}, Row{DType::f64, "f64", 8}, Row{DType::i32, "i32", 4},
        Row{DType::i64, "i64", 8}, Row{DType::u8, "u8", 1}, Row{DType::u16, "u16", 2}, Row{DType::u32, "u32", 4}}) {
    EXPECT_EQ(name_of(r.type), r.name);
    EXPECT_EQ(sizeof_dtype(r.type), r.bytes);
    EXPECT_EQ(find_dtype(r.name), r.type);
  }
  EXPECT_EQ(find_dtype("float"), std::nullopt);
  EXPECT_EQ(find_dtype(""), std::nullopt);
}

TEST(TensorSpec, knows_its_bytes) {
  EXPECT_EQ((TensorSpec{DType::bf16, {3, 5}}.bytes()), 30);
  EXPECT_EQ((TensorSpec{DType::f64, {}}.bytes()), 8);
  EXPECT_EQ((TensorSpec{DType::f32, {0}}.bytes()), 0);
  EXPECT_FALSE(TensorRef{});
}

TEST(Attributes, are_equal_whatever_the_order_they_were_set_in) {
  Attributes a{{"eps", 1e-5}, {"axis", std::int64_t{2}}};
  Attributes b;
  b.set("axis", std::int64_t{2}).set("eps", 0.5).set("eps", 1e-5);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.begin()->first, "axis");
  EXPECT_NE(a, Attributes{});
  EXPECT_TRUE(Attributes{}.empty());
}

TEST(Attributes, convert_integers_to_reals_and_nothing_else) {
  Attributes const a{{"i", std::int64_t{3}}, {"d", 0.5}, {"s", std::string("x")}};
  EXPECT_EQ(a.integer("i"), 3);
  EXPECT_EQ(a.real("i"), 3.0);
  EXPECT_EQ(a.real("d"), 0.5);
  EXPECT_EQ(a.string("s"), "x");
  EXPECT_EQ(a.integer("none", 7), 7);
  EXPECT_EQ(a.real("none", 7.5), 7.5);
  EXPECT_EQ(a.string("none", "y"), "y");
  EXPECT_EQ(code_of([&] { a.integer("d"); }), "tensor.attribute.type");
  EXPECT_EQ(code_of([&] { a.integer("d", 1); }), "tensor.attribute.type") << "a default does not hide a wrong type";
  EXPECT_EQ(code_of([&] { a.real("s"); }), "tensor.attribute.type");
  EXPECT_EQ(code_of([&] { a.string("i"); }), "tensor.attribute.type");
  EXPECT_EQ(code_of([&] { a.integer("none"); }), "tensor.attribute.missing");
  EXPECT_EQ(code_of([&] { a.string("none"); }), "tensor.attribute.missing");
}

TEST(Role, has_a_name_that_reads_back_and_a_lifetime) {
  for (auto r : {Role::input, Role::output, Role::parameter, Role::gradient, Role::moment1, Role::moment2,
                 Role::activation, Role::scratch, Role::message, Role::packed, Role::cache}) {
    EXPECT_EQ(find_role(name_of(r)), r);
  }
  EXPECT_EQ(find_role("weights"), std::nullopt);
  EXPECT_TRUE(is_persistent(Role::cache));
  EXPECT_TRUE(is_persistent(Role::moment2));
  EXPECT_FALSE(is_persistent(Role::activation));
  EXPECT_FALSE(is_persistent(Role::scratch));
}

TEST(Packed, weights_are_planned_in_blocks_of_64) {
  EXPECT_EQ(packed_weight_bytes(1, 1, DType::f32), 64 * 64 * 4 + 4096);
  EXPECT_EQ(packed_weight_bytes(64, 65, DType::bf16), 64 * 128 * 2 + 4096);
  EXPECT_EQ(packed_weight_bytes(50257, 768, DType::bf16), std::int64_t{50304} * 768 * 2 + 4096);
}

TEST(Reduction, keeps_memory_for_a_window_of_pieces_from_every_peer) {
  constexpr std::int64_t kib = 1 << 10, mib = 1 << 20;
  EXPECT_EQ(reduction_scratch_bytes(1), 0);
  EXPECT_EQ(reduction_scratch_bytes(2), 8 * (256 + 2 * 32 + 32) * kib);  // one peer: in, out, back; results
  EXPECT_EQ(reduction_scratch_bytes(3), 8 * (2 * (256 + 2 * 32) + 32) * kib);
  EXPECT_EQ(reduction_scratch_bytes(1024), 8 * (1023 * (8 + 2 * 1) + 1) * kib);
  for (int ranks = 3; ranks <= 65; ++ranks) {
    EXPECT_EQ(reduction_piece_bytes(ranks) % 4096, 0) << ranks;
    EXPECT_LE(reduction_scratch_bytes(ranks), 6 * mib) << ranks;
    EXPECT_GT(reduction_scratch_bytes(ranks), 3 * mib) << ranks;
  }
  EXPECT_EQ(small_reduction_scratch_bytes(1), 0);
  EXPECT_EQ(small_reduction_scratch_bytes(2), 2 * 256 * kib);
  EXPECT_EQ(small_reduction_scratch_bytes(5), 5 * 16 * kib);
}

}  // namespace
}  // namespace lamina
