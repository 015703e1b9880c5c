#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// AdamW with decoupled decay (Loshchilov and Hutter, 2019), as torch.optim.AdamW. Inputs g, p, m, v f32 of one shape (g may be f64),
/// hyper f64[4] = {lr, step from 1, gradient scale, 1 to skip}; outputs p, m, v in place.
class AdamW final : public Op {
 public:
  struct Attrs {
    double beta1 = 0.9, beta2 = 0.95;  // in [0, 1)
    double eps = 1e-8;                 // > 0
    double weight_decay = 0;           // 0 where decay is off
  };
  explicit AdamW(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "adamw"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*,*,*,*,. -> *,*,*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  int overwrites(int output) const override { return output + 1; }

 private:
  Attrs attrs_;
};

/// SGD with momentum as torch.optim.SGD: g' = scale * g + weight_decay * p; m = momentum * m + g'; p -= lr * m.
/// Inputs g, p, m f32 of one shape (g may be f64), hyper f64[4]; outputs p, m in place.
class Sgd final : public Op {
 public:
  struct Attrs {
    double momentum = 0;      // in [0, 1)
    double weight_decay = 0;  // 0 where decay is off
  };
  explicit Sgd(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "sgd"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*,*,*,. -> *,*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  int overwrites(int output) const override { return output + 1; }

 private:
  Attrs attrs_;
};

/// norm f64[2] (+)= {sum of squares over all tensors, number of elements that are not finite}. Inputs: `tensors` f32
/// tensors of any shape. Sums in f64, tensor after tensor: cutting the list into several steps changes no bit. `exact`:
/// norm f64[4] in fixed point, of f32 or f64 tensors; kernels/exact.hpp.
class SquareNorm final : public Op {
 public:
  explicit SquareNorm(int tensors, bool exact = false);
  int tensors() const { return tensors_; }

  std::string_view kind() const override { return "square_norm"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  bool accumulates(int) const override { return true; }

 private:
  int tensors_;
  bool exact_;
};

/// packed u8[bytes] = w[N dims, K dims] f32 re-ordered (and rounded) for a matrix product of `rows` rows; bytes =
/// packed_weight_bytes(n, k, dtype). Made by the plan, once per step. Scratch: a library's scratchpad.
class PackWeight final : public Op {
 public:
  enum class Use : std::uint8_t { forward, backward };  // linear; linear_grad_input
  struct Attrs {
    Use use = Use::forward;
    std::int64_t n = 0, k = 0;  // output and input features, flattened
    std::int64_t rows = 0;      // of the product it will be used with
    DType dtype = DType::f32;   // of the product: f32 or bf16
  };
  explicit PackWeight(Attrs attrs);
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "pack_weight"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*! -> ."}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;

 private:
  Attrs attrs_;
};

}  // namespace lamina::graph
