#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// y = keep ? x / (1 - p) : 0 (Srivastava et al., 2014). x f32 or bf16, [B, ...]; rng i64[3] = {seed, step, first
/// global sample of this replica}; y like x. An element is dropped when uniform(word) < p for the Philox word
/// (base/philox.hpp) of (seed, element's index in the step's global batch, step, `operation`): no layout and no
/// micro-batching changes it. Its backward is the same op on dy. The step attribute `sample`, the micro-batch's first
/// sample, is the plan's.
class Dropout final : public Op {
 public:
  struct Attrs {
    double p = 0;                 // in [0, 1)
    std::uint32_t operation = 0;  // operation_id of path and name, unique in the graph
  };
  explicit Dropout(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "dropout"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"b*,. -> b*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  Attrs attrs_;
};

}  // namespace lamina::graph
