#pragma once

#include <string>

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// y = a + b in f32. a f32, b f32 or bf16, equal shapes of any ndim; y f32. Exact sums: all three f64.
class Add final : public Op {
 public:
  std::string_view kind() const override { return "add"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"*,* -> *"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
};

/// y = x in another dtype: f32 to bf16 rounds to nearest even, bf16 to f32 is exact. Any shape. x may be an exact sum,
/// f64.
class Cast final : public Op {
 public:
  explicit Cast(DType dtype);
  DType dtype() const { return dtype_; }

  std::string_view kind() const override { return "cast"; }
  Attributes attributes() const override { return {{"dtype", std::string(name_of(dtype_))}}; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"* -> *"}; }
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  DType dtype_;
};

/// y_BD = x_BTD[:, last, :]: one position of every sequence, the last real token of a padded chunk.
/// x [B, T, ...] f32 or bf16, last i32[1] in [0, T); y [B, ...] like x. No gradient: generation only.
class SelectToken final : public Op {
 public:
  std::string_view kind() const override { return "select_token"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"bt!*,. -> b*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
};

/// y = the part of x that a rank holds along mesh axis `axis`: dim `dim` in `parts` equal parts, of which the one at
/// the rank's coordinate. Any dtype. Made by the plan where a replicated tensor becomes a sharded one; no gradient.
class Slice final : public Op {
 public:
  struct Attrs {
    int dim = 0;
    int parts = 1;  // ranks along the axis
    std::string axis;
  };
  explicit Slice(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "slice"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {". -> ."}; }
  /// Counts the part only, read and written.
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  Attrs attrs_;
};

}  // namespace lamina::graph
