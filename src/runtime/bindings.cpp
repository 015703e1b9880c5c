// One row per op of src/graph/README.md: how a step's operands and attributes become a kernel's arguments. Members are
// initialised in the order in which they are written, so `in()` and `out()` follow the order of the table there.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "detail/bind_updates.hpp"
#include "detail/operands.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/add.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/cast.hpp"
#include "lamina/kernels/cross_entropy.hpp"
#include "lamina/kernels/dropout.hpp"
#include "lamina/kernels/embedding.hpp"
#include "lamina/kernels/exact.hpp"
#include "lamina/kernels/fill.hpp"
#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/loss_sum.hpp"
#include "lamina/kernels/mse.hpp"
#include "lamina/kernels/select_token.hpp"
#include "lamina/kernels/slice.hpp"
#include "lamina/kernels/softmax_rescale.hpp"

namespace lamina::runtime::detail {
namespace {

namespace k = kernels;

int rows_dims(Operands const& o) { return static_cast<int>(o.attributes().integer("rows_dims")); }
double probability(Operands const& o) { return o.attributes().real("p", 0.0); }
std::uint32_t operation(Operands const& o) {
  return static_cast<std::uint32_t>(o.attributes().integer("operation", 0));
}
std::int64_t sample(Operands const& o) { return o.attributes().integer("sample", 0); }

/// The rows of a vocabulary's table that this rank has, given the table or its gradient.
k::VocabPart vocab_part(Operands const& o, TensorRef const& table) {
  auto const cut = o.cut();
  if (!cut.there) return {};
  return {.first = cut.coordinate * table.spec.shape[0], .vocab = o.attributes().integer("vocab")};
}

/// The heads that this rank has; dim 3 of qkv.
k::HeadPart head_part(Operands const& o, TensorRef const& qkv) {
  auto const cut = o.cut();
  if (!cut.there) return {};
  auto const local = qkv.spec.shape[3];
  return {.first = cut.coordinate * local, .count = cut.parts * local};
}

/// A weight operand. The plain loops read no library's layout.
TensorRef weight(Operands& o) {
  auto const w = o.in();
  if (!o.reference() || w.spec.dtype != DType::u8) return w;
  fail({.code = "runtime.bind.packed",
        .subject = o.where(),
        .found = text("a packed weight ", w.spec),
        .expected = "f32 or bf16 for the plain reference kernels",
        .fix = "plan with Machine::packs_weights = false"});
}

Kernel bind_embedding(Operands& o) {
  auto const whole = o.in();
  auto part = vocab_part(o, whole);
  auto const table = o.rows_of(whole);
  if (table.spec != whole.spec) {
    part.vocab = part.words(whole.spec.shape[0]);
    part.first += (table.as<float>() - whole.as<float>()) / whole.spec.shape[1];
  }
  return o.kernel<k::embedding, k::embedding_reference>(
      k::EmbeddingArgs{.table = table,
                       .ids = o.in(),
                       .positions = o.in_of_holder(o.flag("positions")),
                       .position = o.in_if(o.flag("offset")),
                       .x = o.out(),
                       .part = part});
}

Kernel bind_embedding_grad(Operands& o) {
  auto const dtable = o.out();
  return o.kernel<k::embedding_grad, k::embedding_grad_reference, k::embedding_grad_exact>(
      k::EmbeddingGradArgs{.dx = o.in(),
                           .ids = o.in(),
                           .dtable = dtable,
                           .dpositions = o.out_if(o.flag("positions")),
                           .accumulate = o.accumulate(),
                           .part = vocab_part(o, dtable)});
}

Kernel bind_dropout(Operands& o) {
  auto const x = o.in();
  auto const cut = o.cut();
  if (cut.there && (cut.dim < 1 || cut.dim >= x.spec.shape.ndim())) {
    fail({.code = "runtime.bind.split_dim",
          .subject = o.where(),
          .found = text("split_dim = ", cut.dim, " of ", x.spec),
          .expected = "a dim after the first: samples are counted by the input rng",
          .fix = "correct the attribute"});
  }
  auto const local = cut.there ? x.spec.shape[cut.dim] : 0;
  return o.kernel<k::dropout, k::dropout_reference>(k::DropoutArgs{.x = x,
                                                                   .rng = o.in(),
                                                                   .y = o.out(),
                                                                   .p = o.attributes().real("p"),
                                                                   .operation = operation(o),
                                                                   .sample = sample(o),
                                                                   .split_dim = cut.dim,
                                                                   .first = cut.coordinate * local,
                                                                   .extent = cut.parts * local});
}

Kernel bind_layer_norm(Operands& o) {
  return o.kernel<k::layer_norm, k::layer_norm_reference>(k::LayerNormArgs{.x = o.in(),
                                                                           .scale = o.in(),
                                                                           .shift = o.in(),
                                                                           .y = o.out(),
                                                                           .mean = o.out(),
                                                                           .rstd = o.out(),
                                                                           .eps = o.attributes().real("eps")});
}

Kernel bind_add_layer_norm(Operands& o) {
  return o.kernel<k::add_layer_norm, k::add_layer_norm_reference>(
      k::AddLayerNormArgs{.a = o.in(),
                          .b = o.in(),
                          .scale = o.in(),
                          .shift = o.in(),
                          .r = o.out(),
                          .y = o.out(),
                          .mean = o.out(),
                          .rstd = o.out(),
                          .eps = o.attributes().real("eps")});
}

Kernel bind_layer_norm_grad(Operands& o) {
  return o.kernel<k::layer_norm_grad, k::layer_norm_grad_reference, k::layer_norm_grad_exact>(
      k::LayerNormGradArgs{.dy = o.in(),
                           .x = o.in(),
                           .scale = o.in(),
                           .mean = o.in(),
                           .rstd = o.in(),
                           .residual = o.in_if(o.flag("residual")),
                           .dx = o.out(),
                           .dscale = o.out(),
                           .dshift = o.out(),
                           .scratch = o.scratch(),
                           .accumulate = o.accumulate()});
}

Kernel bind_linear(Operands& o) {
  return o.kernel<k::linear, k::linear_reference, k::linear_exact>(k::LinearArgs{.x = o.in(),
                                                                                 .w = weight(o),
                                                                                 .bias = o.in_of_holder(o.flag("bias")),
                                                                                 .y = o.out(),
                                                                                 .scratch = o.scratch(),
                                                                                 .rows_dims = rows_dims(o)});
}

Kernel bind_linear_gelu(Operands& o) {
  auto const& name = o.attributes().string("activation");
  if (name != "gelu" && name != "relu") {
    fail({.code = "runtime.bind.activation",
          .subject = o.where(),
          .found = text("activation = \"", name, "\""),
          .expected = "gelu or relu",
          .fix = "correct the program, or the fusion that wrote the attribute"});
  }
  return o.kernel<k::linear_gelu, k::linear_gelu_reference>(
      k::LinearGeluArgs{.x = o.in(),
                        .w = weight(o),
                        .bias = o.in_of_holder(o.flag("bias")),
                        .z = o.out(),
                        .y = o.out(),
                        .scratch = o.scratch(),
                        .rows_dims = rows_dims(o),
                        .activation = name == "relu" ? k::Activation::relu : k::Activation::gelu});
}

Kernel bind_linear_grad_input(Operands& o) {
  return o.kernel<k::linear_grad_input, k::linear_grad_input_reference, k::linear_grad_input_exact>(
      k::LinearGradInputArgs{
          .dy = o.in(), .w = weight(o), .dx = o.out(), .scratch = o.scratch(), .rows_dims = rows_dims(o)});
}

Kernel bind_linear_grad_weight(Operands& o) {
  return o.kernel<k::linear_grad_weight, k::linear_grad_weight_reference, k::linear_grad_weight_exact>(
      k::LinearGradWeightArgs{.dy = o.in(),
                              .x = o.in(),
                              .dw = o.out(),
                              .dbias = o.out_if(o.flag("bias")),
                              .scratch = o.scratch(),
                              .rows_dims = rows_dims(o),
                              .accumulate = o.accumulate()});
}

Kernel bind_gelu(Operands& o) {
  return o.kernel<k::gelu, k::gelu_reference>(k::ActivationArgs{.z = o.in(), .y = o.out()});
}

Kernel bind_gelu_grad(Operands& o) {
  return o.kernel<k::gelu_grad, k::gelu_grad_reference>(
      k::ActivationGradArgs{.dy = o.in(), .z = o.in(), .dz = o.out()});
}

Kernel bind_relu(Operands& o) {
  return o.kernel<k::relu, k::relu_reference>(k::ActivationArgs{.z = o.in(), .y = o.out()});
}

Kernel bind_relu_grad(Operands& o) {
  return o.kernel<k::relu_grad, k::relu_grad_reference>(
      k::ActivationGradArgs{.dy = o.in(), .z = o.in(), .dz = o.out()});
}

Kernel bind_attention(Operands& o) {
  auto const qkv = o.in();
  return o.kernel<k::attention, k::attention_reference>(k::AttentionArgs{.qkv = qkv,
                                                                         .rng = o.in_if(probability(o) > 0),
                                                                         .y = o.out(),
                                                                         .lse = o.out(),
                                                                         .scratch = o.scratch(),
                                                                         .causal = o.flag("causal"),
                                                                         .p = probability(o),
                                                                         .operation = operation(o),
                                                                         .sample = sample(o),
                                                                         .heads = head_part(o, qkv)});
}

Kernel bind_attention_grad(Operands& o) {
  auto const dy = o.in(), qkv = o.in();
  return o.kernel<k::attention_grad, k::attention_grad_reference>(
      k::AttentionGradArgs{.dy = dy,
                           .qkv = qkv,
                           .y = o.in(),
                           .lse = o.in(),
                           .rng = o.in_if(probability(o) > 0),
                           .dqkv = o.out(),
                           .scratch = o.scratch(),
                           .causal = o.flag("causal"),
                           .p = probability(o),
                           .operation = operation(o),
                           .sample = sample(o),
                           .heads = head_part(o, qkv)});
}

Kernel bind_attention_cached(Operands& o) {
  auto const qkv = o.in(), cache_k = o.in(), cache_v = o.in(), position = o.in();
  auto const y = o.out();
  return o.kernel<k::attention_cached, k::attention_cached_reference>(
      k::AttentionCachedArgs{.qkv = qkv,
                             .cache_k = o.out_over(cache_k),
                             .cache_v = o.out_over(cache_v),
                             .position = position,
                             .y = y,
                             .scratch = o.scratch(),
                             .causal = o.flag("causal")});
}

Kernel bind_add(Operands& o) {
  return o.kernel<k::add, k::add_reference>(k::AddArgs{.a = o.in_rows(), .b = o.in_rows(), .y = o.out_rows()});
}

Kernel bind_cast(Operands& o) {
  return o.kernel<k::cast, k::cast_reference>(k::CastArgs{.x = o.in_rows(), .y = o.out_rows()});
}

Kernel bind_slice(Operands& o) {
  auto const x = o.in(), y = o.out();
  auto const cut = o.cut();
  if (!cut.there || cut.dim < 0 || cut.dim >= y.spec.shape.ndim()) {
    fail({.code = "runtime.bind.split_dim",
          .subject = o.where(),
          .found = text("split_dim = ", cut.dim, " of ", y.spec, cut.there ? "" : ", no split_axis"),
          .expected = "a dim of the part, and the mesh axis over which it is cut",
          .fix = "correct the attributes"});
  }
  return o.kernel<k::slice, k::slice_reference>(
      k::SliceArgs{.x = x, .y = y, .dim = cut.dim, .first = cut.coordinate * y.spec.shape[cut.dim]});
}

Kernel bind_select_token(Operands& o) {
  return o.kernel<k::select_token, k::select_token_reference>(
      k::SelectTokenArgs{.x = o.in(), .last = o.in(), .y = o.out()});
}

Kernel bind_head_loss_stats(Operands& o) {
  auto const x = o.in(), w = weight(o);
  return o.kernel<k::head_loss_stats, k::head_loss_stats_reference, k::head_loss_stats_exact>(
      k::HeadLossStatsArgs{.x = x,
                           .w = w,
                           .bias = o.in_if(o.flag("bias")),
                           .targets = o.in(),
                           .max = o.out(),
                           .sum = o.out(),
                           .target = o.out(),
                           .scratch = o.scratch(),
                           .part = vocab_part(o, w)});
}

Kernel bind_head_loss_sum(Operands& o) {
  auto const x = o.in(), w = weight(o);
  return o.always<k::head_loss_sum_exact>(k::Exact<k::HeadLossSumArgs>{{.x = x,
                                                                        .w = w,
                                                                        .bias = o.in_if(o.flag("bias")),
                                                                        .max = o.in(),
                                                                        .sum = o.out(),
                                                                        .scratch = o.scratch(),
                                                                        .part = vocab_part(o, w)},
                                                                       o.fixed_point(),
                                                                       o.fixed_point("logits_")});
}

Kernel bind_softmax_rescale(Operands& o) {
  return o.kernel<k::softmax_rescale, k::softmax_rescale_reference>(
      k::SoftmaxRescaleArgs{.sum = o.in(), .own_max = o.in(), .max = o.in(), .y = o.out()});
}

Kernel bind_loss_sum(Operands& o) {
  return o.kernel<k::loss_sum, k::loss_sum_reference, k::loss_sum_exact>(k::LossSumArgs{.max = o.in(),
                                                                                        .sum = o.in(),
                                                                                        .target = o.in(),
                                                                                        .targets = o.in(),
                                                                                        .loss = o.out(),
                                                                                        .accumulate = o.accumulate()});
}

Kernel bind_head_loss_grad(Operands& o) {
  auto const x = o.in(), w = weight(o);
  bool const split = o.flag("split");
  return o.kernel<k::head_loss_grad, k::head_loss_grad_reference, k::head_loss_grad_exact>(
      k::HeadLossGradArgs{.x = x,
                          .w = w,
                          .bias = o.in_if(o.flag("bias")),
                          .targets = o.in(),
                          .max = o.in(),
                          .sum = o.in(),
                          .dx = o.out(),
                          .dlogits = o.out_if(split),
                          .dw = o.out_if(!split),
                          .dbias = o.out_if(!split && o.flag("bias")),
                          .scratch = o.scratch(),
                          .accumulate = o.accumulate(),
                          .part = vocab_part(o, w)});
}

Kernel bind_head_loss(Operands& o) {
  bool const split = o.flag("split");
  return o.kernel<k::head_loss, k::head_loss_reference>(k::HeadLossArgs{.x = o.in(),
                                                                        .w = weight(o),
                                                                        .bias = o.in_if(o.flag("bias")),
                                                                        .targets = o.in(),
                                                                        .loss = o.out(),
                                                                        .dx = o.out(),
                                                                        .dlogits = o.out_if(split),
                                                                        .dw = o.out_if(!split),
                                                                        .dbias = o.out_if(!split && o.flag("bias")),
                                                                        .scratch = o.scratch(),
                                                                        .accumulate = o.accumulate()});
}

Kernel bind_cross_entropy(Operands& o) {
  return o.kernel<k::cross_entropy, k::cross_entropy_reference, k::cross_entropy_exact>(
      k::CrossEntropyArgs{.x = o.in(), .targets = o.in(), .loss = o.out(), .accumulate = o.accumulate()});
}

Kernel bind_cross_entropy_grad(Operands& o) {
  return o.kernel<k::cross_entropy_grad, k::cross_entropy_grad_reference>(
      k::CrossEntropyGradArgs{.x = o.in(), .targets = o.in(), .dx = o.out()});
}

Kernel bind_accuracy(Operands& o) {
  return o.kernel<k::accuracy, k::accuracy_reference>(
      k::AccuracyArgs{.x = o.in(), .targets = o.in(), .hits = o.out(), .accumulate = o.accumulate()});
}

Kernel bind_mse(Operands& o) {
  return o.kernel<k::mse, k::mse_reference, k::mse_exact>(
      k::MseArgs{.x = o.in(), .y = o.in(), .counted = o.in(), .loss = o.out(), .accumulate = o.accumulate()});
}

Kernel bind_mse_grad(Operands& o) {
  return o.kernel<k::mse_grad, k::mse_grad_reference>(
      k::MseGradArgs{.x = o.in(), .y = o.in(), .counted = o.in(), .dx = o.out()});
}

constexpr Binder binders[] = {
    {"accuracy", bind_accuracy},
    {"adamw", bind_adamw},
    {"add", bind_add},
    {"add_layer_norm", bind_add_layer_norm},
    {"attention", bind_attention},
    {"attention_cached", bind_attention_cached},
    {"attention_grad", bind_attention_grad},
    {"cast", bind_cast},
    {"cross_entropy", bind_cross_entropy},
    {"cross_entropy_grad", bind_cross_entropy_grad},
    {"dropout", bind_dropout},
    {"embedding", bind_embedding},
    {"embedding_grad", bind_embedding_grad},
    {"fill", bind_fill},
    {"gelu", bind_gelu},
    {"gelu_grad", bind_gelu_grad},
    {"head_loss", bind_head_loss},
    {"head_loss_grad", bind_head_loss_grad},
    {"head_loss_stats", bind_head_loss_stats},
    {"head_loss_sum", bind_head_loss_sum},
    {"layer_norm", bind_layer_norm},
    {"layer_norm_grad", bind_layer_norm_grad},
    {"linear", bind_linear},
    {"linear_gelu", bind_linear_gelu},
    {"linear_grad_input", bind_linear_grad_input},
    {"linear_grad_weight", bind_linear_grad_weight},
    {"loss_sum", bind_loss_sum},
    {"mse", bind_mse},
    {"mse_grad", bind_mse_grad},
    {"pack_weight", bind_pack_weight},
    {"relu", bind_relu},
    {"relu_grad", bind_relu_grad},
    {"select_token", bind_select_token},
    {"sgd", bind_sgd},
    {"slice", bind_slice},
    {"softmax_rescale", bind_softmax_rescale},
    {"square_norm", bind_square_norm},
    {"zero", bind_zero},
};

}  // namespace

std::vector<std::string> bound_ops() {
  std::vector<std::string> names;
  for (auto const& b : binders) names.emplace_back(b.op);
  return names;
}

Kernel bind_kernel(std::string_view op, Operands& operands) {
  auto const row = std::find_if(std::begin(binders), std::end(binders), [&](Binder const& b) { return b.op == op; });
  if (row != std::end(binders)) {
    auto kernel = row->bind(operands);
    operands.finish();
    return kernel;
  }
  auto const known = bound_ops();
  auto const near = closest(op, known);
  fail({.code = "runtime.bind.op",
        .subject = operands.where(),
        .found = text("op '", op, "'"),
        .expected = "an op with a row in src/runtime/bindings.cpp",
        .fix = near.empty() ? text("there are ", join(known)) : text("did you mean '", near, "'?")});
}

}  // namespace lamina::runtime::detail
