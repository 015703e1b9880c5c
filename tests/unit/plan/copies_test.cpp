#include "plan/detail/copies.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/tensor/packed.hpp"
#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using program::ProgramSet;
using test::PlanCase;

ProgramSet set_of(PlanCase const& c, Purpose purpose = Purpose::train) {
  return lower(*test::make_plan(c, purpose), 0);
}

program::Step const& first(ProgramSet const& set, std::string_view program, std::string_view op) {
  for (auto const& s : set.shape->find_program(program)->steps) {
    if (s.op == op) return s;
  }
  ADD_FAILURE() << "no step " << op << " in " << program;
  static program::Step const none;
  return none;
}

program::Buffer const& weight(ProgramSet const& set, std::string_view program, std::string_view op) {
  return set.shape->buffers[static_cast<std::size_t>(first(set, program, op).in[1])];
}

int packed_buffers(ProgramSet const& set) {
  int n = 0;
  for (auto const& b : set.shape->buffers) n += b.role == Role::packed ? 1 : 0;
  return n;
}

TEST(WorkingCopies, are_packed_for_each_use) {
  for (bool const bf16 : {false, true}) {
    auto const set = set_of({.bf16 = bf16});
    auto const dtype = bf16 ? DType::bf16 : DType::f32;
    auto const& forward = weight(set, "forward_backward", "linear");
    EXPECT_EQ(forward.name, "blocks.0.attn.qkv.weight@forward");
    EXPECT_EQ(forward.spec, (TensorSpec{DType::u8, {packed_weight_bytes(48, 16, dtype)}}));
    EXPECT_EQ(weight(set, "forward_backward", "linear_grad_input").name, "blocks.1.mlp.proj.weight@backward");
    EXPECT_EQ(first(set, "forward_backward", "linear").attributes.integer("packed"), 1);
    EXPECT_EQ(weight(set, "eval", "linear").name, forward.name);  // one copy for both programs
    auto const& pack = first(set, "refresh", "pack_weight");
    EXPECT_EQ(pack.attributes.integer("n"), 48);
    EXPECT_EQ(pack.attributes.integer("k"), 16);
    EXPECT_EQ(pack.attributes.integer("rows"), 2 * 8);
    EXPECT_EQ(pack.attributes.string("use"), "forward");
    EXPECT_EQ(pack.attributes.string("dtype"), name_of(dtype));
  }
}

TEST(WorkingCopies, flatten_several_contracted_dims) {
  auto const set = set_of({});  // out.weight [D, N, H] = [16, 2, 8]
  for (auto const& s : set.shape->find_program("refresh")->steps) {
    if (set.shape->buffers[static_cast<std::size_t>(s.in[0])].name != "blocks.0.attn.out.weight") continue;
    EXPECT_EQ(s.attributes.integer("n"), 16);
    EXPECT_EQ(s.attributes.integer("k"), 16);
  }
}

TEST(WorkingCopies, of_a_tied_head_are_plain_bf16_beside_the_master_of_the_embedding) {
  auto const set = set_of({.bf16 = true});
  EXPECT_EQ(weight(set, "forward_backward", "head_loss").name, "embed.tokens.weight@bf16");
  EXPECT_EQ(weight(set, "forward_backward", "head_loss").spec, (TensorSpec{DType::bf16, {40, 16}}));
  EXPECT_EQ(weight(set, "eval", "head_loss_stats").name, "embed.tokens.weight@bf16");
  auto const table = first(set, "forward_backward", "embedding").in[0];
  EXPECT_EQ(set.shape->buffers[static_cast<std::size_t>(table)].role, Role::parameter);
  EXPECT_EQ(weight(set_of({}), "forward_backward", "head_loss").role, Role::parameter);  // f32 needs no copy
}

TEST(WorkingCopies, are_plain_where_the_machine_does_not_pack) {
  auto const bf16 = set_of({.bf16 = true, .packs = false});
  EXPECT_EQ(weight(bf16, "forward_backward", "linear").name, "blocks.0.attn.qkv.weight@bf16");
  EXPECT_EQ(weight(bf16, "forward_backward", "linear_grad_input").name, "blocks.1.mlp.proj.weight@bf16");
  EXPECT_FALSE(first(bf16, "forward_backward", "linear").attributes.has("packed"));
  EXPECT_EQ(first(bf16, "refresh", "cast").attributes.string("dtype"), "bf16");
  EXPECT_EQ(packed_buffers(bf16), 2 * 4 + 1);
  auto const f32 = set_of({.packs = false});
  EXPECT_EQ(packed_buffers(f32), 0);
  EXPECT_TRUE(f32.shape->find_program("refresh")->steps.empty());
}

TEST(WorkingCopies, of_generation_are_plain) {
  auto const bf16 = set_of({.bf16 = true}, Purpose::generate);
  EXPECT_EQ(weight(bf16, "decode", "linear").name, "blocks.0.attn.qkv.weight@bf16");
  EXPECT_EQ(packed_buffers(bf16), 2 * 4 + 1);
  EXPECT_EQ(packed_buffers(set_of({}, Purpose::generate)), 0);
}

TEST(WorkingCopies, of_an_evaluation_need_no_backward) {
  auto const set = set_of({}, Purpose::eval);
  EXPECT_EQ(packed_buffers(set), 2 * 4);
  for (auto const& b : set.shape->buffers) EXPECT_FALSE(b.name.ends_with("@backward")) << b.name;
}

}  // namespace
}  // namespace lamina::plan
