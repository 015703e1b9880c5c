#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// x_BTD = table_VD[ids_BT] (+ positions_PD[position + t]), all f32; ids i32 in [0, V).
/// Inputs: table, ids, [positions] with `positions`, [position i32[1]: tokens already in the cache] with `offset`.
/// The gradients are row sums in a fixed order; ids get none.
class Embedding final : public Op {
 public:
  struct Attrs {
    bool positions = false;  // learned positions are added
    bool offset = false;     // they start at the input `position`; needs `positions`
  };
  explicit Embedding(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "embedding"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  Attrs attrs_;
};

/// dtable_VD (+)= sum over rows with id v of dx, [dpositions_PD (+)= sum over b of dx_BTD at t = p].
/// Inputs: dx_BTD f32, ids_BT i32.
class EmbeddingGrad final : public Op {
 public:
  struct Attrs {
    bool positions = false;
    std::int64_t vocab = 0;    // V, rows of the table
    std::int64_t context = 0;  // P, rows of the positions; 0 without
  };
  explicit EmbeddingGrad(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "embedding_grad"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  bool accumulates(int) const override { return true; }

 private:
  Attrs attrs_;
};

}  // namespace lamina::graph
