#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/tensor/attributes.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::graph {

class GradBuilder;

/// How an operator may be split: "bt!d,vd -> btv": one term per tensor, one letter per dim. Equal letters are
/// equal dims; a letter may be split over a mesh axis unless '!' follows it anywhere in the rule; a split letter that
/// occurs only in inputs (contracted) makes every output that lacks it partial(sum). The grammar with the worked rules
/// of every op is in src/graph/README.md.
struct ShardRule {
  std::string letters;
};

/// Work of one execution. Integers, so that every rank computes the same plan.
struct Cost {
  std::int64_t flops = 0;
  std::int64_t bytes = 0;  ///< memory traffic: each input read once, each output written once
};

/// An operator as a pure function of specs. Immutable; no device, no MPI, no mesh in here. The numerics are in
/// kernels/<kind>.cpp; inputs and outputs have the same order there.
class Op {
 public:
  virtual ~Op() = default;

  /// Names the kernel: "layer_norm".
  virtual std::string_view kind() const = 0;
  /// Everything the kernel needs beside its tensors.
  virtual Attributes attributes() const { return {}; }
  /// Output specs. @throws Error "graph.<kind>.<rule>" for inputs that do not fit.
  virtual std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const = 0;
  /// Adds the backward operators. The default throws "graph.<kind>.gradient".
  virtual void differentiate(GradBuilder& g) const;
  virtual ShardRule shard_rule() const = 0;
  virtual Cost cost(std::span<TensorSpec const> in) const = 0;
  /// Bytes of scratch the kernel needs on `threads` threads; appended as the step's last output.
  virtual std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const;
  /// Output `o` is added to what its buffer holds (gradients of parameters, loss sums): over the micro-batches of
  /// a step, and over several uses of one parameter. The first writer of a step overwrites: its step has bit `o`
  /// of the integer attribute "accumulate" clear; later writers have it set.
  virtual bool accumulates(int output) const;
  /// Input whose buffer output `o` overwrites (in-place update), or -1.
  virtual int overwrites(int output) const;
  /// Input `i` is the weight matrix of a product: the plan may hand over a bf16 or re-packed copy of it.
  virtual bool is_weight(int input) const;
};

using OpPtr = std::shared_ptr<Op const>;

}  // namespace lamina::graph
