#pragma once

#include <map>
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

  // Value ids from here on. Parameters, states and nodes take the path as a prefix; inputs and outputs do not.

  /// f32, master precision. One asked for twice by the same full name is the same value (tying).
  /// @throws Error "models.builder.parameter" when the two differ.
  int parameter(std::string_view name, Shape shape, std::vector<std::string> dims, graph::Init init, bool decay);
  /// One asked for twice is the same value. @throws Error "models.builder.input" when the two differ.
  int input(std::string_view name, TensorSpec spec, std::vector<std::string> dims);
  /// A forward node; the ids of its outputs. @throws as Graph::add_node.
  std::vector<int> apply(graph::OpPtr op, std::vector<int> in, std::vector<int> const& targets = {});
  int state(std::string_view name, TensorSpec spec, std::vector<std::string> dims, Role role);

  /// What the host reads after a pass: an activation under a name of its own.
  void output(int value, std::string name) { graph_.mark_output(value, std::move(name)); }

  // The usual layers as one call each; all return the output value id.
  int tokens();    ///< input i32 [batch, tokens]
  int targets();   ///< input i32 [batch, tokens], negative: ignored
  int rng();       ///< input i64 [3] = {seed, step, first global sample of the replica in the step}
  int position();  ///< input i32 [1]: tokens already in the caches
  int last();      ///< input i32 [1]: index of the last real token of the chunk
  /// Parameters "<name>.weight" and "<name>.bias" over the last dim of x; y of dtype `out`. A name "" stands for the
  /// scope itself, here and in `linear`.
  int layer_norm(std::string_view name, int x, DType out);
  /// Parameters "<name>.weight" [out, the last `contract` dims of x] and, with `bias`, "<name>.bias" [out].
  int linear(std::string_view name, int x, std::vector<std::int64_t> out, std::vector<std::string> const& out_dims,
             int contract, bool bias, graph::Init init, DType dtype);
  /// x itself with p = 0 and in modes other than train.
  int dropout(int x, double p);
  /// x as it comes; the scope is a layer that stages may name or leave out.
  int pass_on(int x);
  /// Multi-head attention of qkv [batch, tokens, 3, heads, head_size]: in modes prefill and decode over the caches
  /// "<path>.cache_k" and "cache_v" [batch, heads, context, head_size]. p: dropout of the probabilities, in mode train.
  int attention(int qkv, bool causal, double p);
  int gelu(int z);
  int relu(int z);
  int cast(int x, DType dtype);  ///< x itself when it has the dtype
  int add(int a, int b);
  /// Registers the loss state: what `differentiate` starts from. `head_loss` ops accumulate into it.
  int loss();
  /// The end of a model over a vocabulary: in modes train and eval the summed cross-entropy of x w^T (+ bias) with the
  /// targets, into `loss()`; in prefill and decode, where x is [batch, model], the output "logits" f32 [batch, vocab].
  /// `bias` may be -1.
  void head(int x, int weight, int bias);

  graph::Graph finish() { return std::move(graph_); }

 private:
  std::string full(std::string_view name) const;
  std::uint32_t make_operation(std::string_view op);

  BuildRequest request_;
  graph::Graph graph_;
  std::string path_;
  std::map<std::string, int> operations_;  ///< "<path>.<op>" -> how many drew random numbers
};

}  // namespace lamina::models
