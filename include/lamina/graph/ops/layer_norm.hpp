#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// y = (x - mean) * rstd * scale_D + shift_D over the last dim D, rstd = 1 / sqrt(variance + eps) with the biased
/// variance (Ba et al., 2016). x_BTD f32, any leading dims; scale, shift f32; outputs y_BTD `dtype`, mean_BT, rstd_BT
/// f32.
class LayerNorm final : public Op {
 public:
  struct Attrs {
    double eps = 1e-5;         // added to the variance; > 0
    DType dtype = DType::f32;  // of y: f32 or bf16
  };
  explicit LayerNorm(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "layer_norm"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"*d!,d,d -> *d,*,*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  Attrs attrs_;
};

/// r = a + b (the residual stream), y = layer norm of r: `add` and `layer_norm` in one pass. a_BTD f32, b_BTD f32 or
/// bf16, scale, shift; outputs r_BTD f32, y_BTD `dtype`, mean_BT, rstd_BT. Made by fusion, after differentiation.
class AddLayerNorm final : public Op {
 public:
  explicit AddLayerNorm(LayerNorm::Attrs attrs);
  LayerNorm::Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "add_layer_norm"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*d!,*d,d,d -> *d,*d,*,*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  LayerNorm::Attrs attrs_;
};

/// Gradient of `layer_norm`. Inputs dy_BTD f32 or bf16, x_BTD f32, scale_D, mean_BT, rstd_BT, [residual_BTD f32];
/// outputs dx_BTD f32 = gradient + residual, dscale_D (+), dshift_D (+).
/// Scratch: 8 * D * min(64, ceil(R / 16)) bytes, partial sums of dscale and dshift per block of the R rows: the number
/// of blocks, hence the bits, must not depend on the threads.
class LayerNormGrad final : public Op {
 public:
  struct Attrs {
    bool residual = false;  // the gradient that reaches x on its other path is added
  };
  explicit LayerNormGrad(Attrs attrs) : attrs_(attrs) {}
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "layer_norm_grad"; }
  Attributes attributes() const override { return {{"residual", std::int64_t{attrs_.residual}}}; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool accumulates(int output) const override { return output > 0; }

 private:
  Attrs attrs_;
};

}  // namespace lamina::graph
