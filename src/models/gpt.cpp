#include <memory>

#include "lamina/base/error.hpp"
#include "lamina/base/math.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/embedding.hpp"
#include "lamina/models/models.hpp"

namespace lamina::models {
namespace {

// B batch, T tokens, D hidden, N heads, H head size, F feed-forward, V vocabulary, P context

constexpr double weight_stddev = 0.02;

/// Collects what is wrong with a model section.
class Problems {
 public:
  void require(bool ok, std::string rule, std::string found, std::string expected, std::string fix) {
    if (ok) return;
    list_.push_back({.code = "models.gpt." + std::move(rule),
                     .subject = "[model] of kind gpt",
                     .found = std::move(found),
                     .expected = std::move(expected),
                     .fix = std::move(fix)});
  }
  void one_of(std::string_view key, std::string const& value, std::vector<std::string> const& allowed) {
    for (auto const& a : allowed) {
      if (value == a) return;
    }
    require(false, std::string(key), text(key, " = ", value), join(allowed, " or "), text("correct model.", key));
  }
  void fail_if_any() const { lamina::fail_if_any(list_); }

 private:
  std::vector<ErrorInfo> list_;
};

bool generates(BuildRequest const& r) { return r.mode == Mode::prefill || r.mode == Mode::decode; }

void require_sizes(Problems& problems, config::Model const& m) {
  auto const size = [&](std::string_view name, std::int64_t value) {
    problems.require(value >= 1, "size", text(name, " = ", value), "at least 1", text("set model.", name));
  };
  size("layers", m.layers), size("hidden", m.hidden), size("heads", m.heads), size("context", m.context);
  problems.require(m.vocab >= 1, "vocab", text("vocab = ", m.vocab), "the number of token ids",
                   "set model.vocab, or give [data] a tokenizer");
  problems.require(m.ff >= 0, "size", text("ff = ", m.ff), "0 (for 4 * hidden) or more", "set model.ff");
  problems.require(m.heads < 1 || m.hidden % m.heads == 0, "heads", text("hidden = ", m.hidden, ", heads = ", m.heads),
                   "heads divides hidden", "choose heads so that hidden / heads is a whole number");
  problems.require(m.dropout >= 0 && m.dropout < 1, "dropout", text("dropout = ", exact(m.dropout)),
                   "a probability in [0, 1)", "set model.dropout, 0 to switch it off");
}

void require_request(Problems& problems, config::Model const& m, BuildRequest const& r) {
  problems.require(r.batch >= 1 && r.tokens >= 1, "request", text("batch = ", r.batch, ", tokens = ", r.tokens),
                   "at least one sample of one token", "correct the batch section");
  problems.require(r.compute == DType::f32 || r.compute == DType::bf16, "compute", text(r.compute), "f32 or bf16",
                   "set precision.compute");
  auto const length = generates(r) ? r.context : r.tokens;
  problems.require(m.positions != "learned" || length <= m.context, "context",
                   text(length, " tokens, context = ", m.context), "no more tokens than there are learned positions",
                   "raise model.context or use shorter sequences");
  if (!generates(r)) return;
  problems.require(m.causal, "generate", "causal = false", "a causal model: its text does not depend on later tokens",
                   "generate with a model that was trained with causal = true");
  problems.require(r.tokens <= r.context, "request", text("tokens = ", r.tokens, ", context = ", r.context),
                   "a chunk no longer than the cache", "raise the context or shorten the chunk");
}

void require_gpt(config::Model const& m, BuildRequest const& request) {
  Problems problems;
  require_sizes(problems, m);
  problems.one_of("norm", m.norm, {"pre", "post"});
  problems.one_of("activation", m.activation, {"gelu", "relu"});
  problems.one_of("positions", m.positions, {"learned", "none"});
  require_request(problems, m, request);
  problems.fail_if_any();
}

/// Builds one GPT; members keep what all its layers need.
class Gpt {
 public:
  Gpt(Builder& b, config::Model const& m)
      : b_(b), m_(m), compute_(b.request().compute), pre_(m.norm == "pre"), ff_(m.ff > 0 ? m.ff : 4 * m.hidden) {
    residual_.stddev = weight_stddev / math::sqrt(2.0 * static_cast<double>(m.layers));
  }

  void build() {
    auto [x_BTD, table] = embed();
    for (std::int64_t i = 0; i < m_.layers; ++i) {
      auto const block = b_.scope(text("blocks.", i));
      x_BTD = branch("attn", x_BTD, [this](int x) { return attention(x); });
      x_BTD = branch("mlp", x_BTD, [this](int x) { return feed_forward(x); });
    }
    int const y = final_state(x_BTD);
    auto const scope = b_.scope("head");
    int const weight =
        m_.tied ? table : b_.parameter("weight", {m_.vocab, m_.hidden}, {"vocab", "model"}, normal_, true);
    b_.head(y, weight, m_.head_bias ? b_.parameter("bias", {m_.vocab}, {"vocab"}, {}, false) : -1);
  }

 private:
  struct Embedded {
    int x, table;
  };
  Embedded embed() {
    auto const scope = b_.scope("embed");
    bool const learned = m_.positions == "learned";
    int const table = b_.parameter("tokens.weight", {m_.vocab, m_.hidden}, {"vocab", "model"}, normal_, true);
    std::vector<int> in{table, b_.tokens()};
    if (learned) {
      in.push_back(b_.parameter("positions.weight", {m_.context, m_.hidden}, {"context", "model"}, normal_, true));
    }
    bool const offset = learned && generates(b_.request());
    if (offset) in.push_back(b_.position());
    graph::Embedding::Attrs const attrs{.positions = learned, .offset = offset};
    return {b_.dropout(b_.apply(std::make_shared<graph::Embedding>(attrs), in)[0], m_.dropout), table};
  }

  /// x + f(norm(x)), or norm(x + f(x)); the sum is f32.
  template <class F>
  int branch(std::string_view name, int x_BTD, F const& f) {
    auto const scope = b_.scope(name);
    int const in = pre_ ? b_.layer_norm("norm", x_BTD, compute_) : b_.cast(x_BTD, compute_);
    int const sum = b_.add(x_BTD, b_.dropout(f(in), m_.dropout));
    return pre_ ? sum : b_.layer_norm("norm", sum, DType::f32);
  }

  int attention(int x_BTD) {
    auto const size = m_.hidden / m_.heads;
    int const qkv_BT3NH =
        b_.linear("qkv", x_BTD, {3, m_.heads, size}, {"", "heads", "head_size"}, 1, true, normal_, compute_);
    int const y_BTNH = b_.attention(qkv_BT3NH, m_.causal, m_.dropout);
    return b_.linear("out", y_BTNH, {m_.hidden}, {"model"}, 2, true, residual_, DType::f32);
  }

  int feed_forward(int x_BTD) {
    int const z_BTF = b_.linear("fc", x_BTD, {ff_}, {"ff"}, 1, true, normal_, compute_);
    int const y_BTF = m_.activation == "gelu" ? b_.gelu(z_BTF) : b_.relu(z_BTF);
    return b_.linear("proj", y_BTF, {m_.hidden}, {"model"}, 1, true, residual_, DType::f32);
  }

  /// What the head reads: the stream, normalised; where norms come last it is so already.
  int final_state(int x_BTD) {
    auto const scope = b_.scope("final");
    int x = pre_ ? x_BTD : b_.pass_on(x_BTD);
    // Only one position is wanted when generating, so only that one is normalised.
    if (generates(b_.request())) x = b_.apply(std::make_shared<graph::SelectToken>(), {x, b_.last()})[0];
    return pre_ ? b_.layer_norm("norm", x, compute_) : b_.cast(x, compute_);
  }

  Builder& b_;
  config::Model const& m_;
  DType compute_;
  bool pre_;
  std::int64_t ff_;
  graph::Init normal_{.kind = graph::Init::Kind::normal, .stddev = weight_stddev};
  graph::Init residual_{.kind = graph::Init::Kind::normal, .stddev = weight_stddev};
};

}  // namespace

void build_gpt(Builder& builder, config::Model const& model) {
  require_gpt(model, builder.request());
  Gpt(builder, model).build();
}

}  // namespace lamina::models
