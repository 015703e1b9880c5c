#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lamina/graph/graph.hpp"

namespace lamina::models {

/// What a graph is for. Train and eval see [batch, tokens] and a loss; prefill sees a fixed chunk of one sequence and
/// decode one token, both with key/value caches, and give logits of one position.
enum class Mode : std::uint8_t { train, eval, prefill, decode };

/// What a builder is asked for. Sizes are those of one *global* micro-batch (all replicas side by side).
struct BuildRequest {
  Mode mode = Mode::train;
  std::int64_t batch = 1;
  std::int64_t tokens = 1;
  std::int64_t context = 1024;  ///< length of the caches
  DType compute = DType::f32;   ///< f32 or bf16: dtype of what enters matrix products
};

/// Convenience over Graph for model builders: layer scopes, names, inputs.
class Builder {
 public:
  explicit Builder(BuildRequest request) : request_(request) {}

  BuildRequest const& request() const { return request_; }
  graph::Graph& graph() { return graph_; }

  /// RAII layer scope: names and layer paths inside are prefixed with "name.".
  class Scope {
   public:
    ~Scope();
    Scope(Scope const&) = delete;
    Scope& operator=(Scope const&) = delete;

   private:
    friend class Builder;
    Scope(Builder& b, std::size_t length) : builder_(b), length_(length) {}
    Builder& builder_;
    std::size_t length_;
  };
  [[nodiscard]] Scope scope(std::string_view name);
  std::string const& path() const { return path_; }

  /// Value ids. A parameter asked for twice by the same full name is the same value (tying).
  int parameter(std::string_view name, Shape shape, std::vector<std::string> dims, graph::Init init, bool decay);
  int input(std::string_view name, TensorSpec spec, std::vector<std::string> dims);
  std::vector<int> apply(graph::OpPtr op, std::vector<int> in, std::vector<int> const& targets = {});
  int state(std::string_view name, TensorSpec spec, std::vector<std::string> dims, Role role);

  // The usual layers as one call each; all return the output value id.
  int tokens();   ///< input i32 [batch, tokens]
  int targets();  ///< input i32 [batch, tokens]
  int layer_norm(std::string_view name, int x, DType out);
  int linear(std::string_view name, int x, std::vector<std::int64_t> out, std::vector<std::string> out_dims,
             int contract, bool bias, graph::Init init, DType dtype);
  int dropout(int x, double p);
  int add(int a, int b);
  /// Registers the loss state: what `differentiate` starts from. `head_loss` ops accumulate into it.
  int loss();

  graph::Graph finish() { return std::move(graph_); }

 private:
  BuildRequest request_;
  graph::Graph graph_;
  std::string path_;
};

}  // namespace lamina::models
