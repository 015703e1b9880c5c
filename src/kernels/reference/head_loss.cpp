#include "lamina/kernels/head_loss.hpp"

#include <cmath>
#include <vector>

#include "../detail/element.hpp"

namespace lamina::kernels {

using detail::get, detail::put, detail::put_or_add;

namespace {

struct Logits {
  std::int64_t rows, model, vocab;  // vocab: words among the rows of w
  std::vector<double> values;       // [rows, vocab]
};

Logits logits_of(TensorRef const& x, TensorRef const& w, TensorRef const& bias, VocabPart const& part) {
  auto const model = x.spec.shape.back(), rows = x.spec.count() / model, vocab = part.valid(w.spec.count() / model);
  Logits l{rows, model, vocab, std::vector<double>(static_cast<std::size_t>(rows * vocab))};
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t v = 0; v < vocab; ++v) {
      double sum = bias ? get(bias, v) : 0;
      for (std::int64_t d = 0; d < model; ++d) sum += get(x, r * model + d) * get(w, v * model + d);
      l.values[static_cast<std::size_t>(r * vocab + v)] = sum;
    }
  }
  return l;
}

}  // namespace

void head_loss_stats_reference(HeadLossStatsArgs const& a) {
  auto const l = logits_of(a.x, a.w, a.bias, a.part);
  for (std::int64_t r = 0; r < l.rows; ++r) {
    auto const* const row = l.values.data() + r * l.vocab;
    double max = -HUGE_VAL, sum = 0;
    for (std::int64_t v = 0; v < l.vocab; ++v) max = std::fmax(max, row[v]);
    for (std::int64_t v = 0; v < l.vocab; ++v) sum += std::exp(row[v] - max);
    auto const target = a.targets.as<std::int32_t>()[r];
    bool const here = target >= 0 && target >= a.part.first && target < a.part.first + l.vocab;
    put(a.max, r, max), put(a.sum, r, sum);
    put(a.target, r, here ? row[target - a.part.first] : 0);
  }
}

void head_loss_grad_reference(HeadLossGradArgs const& a) {
  auto l = logits_of(a.x, a.w, a.bias, a.part);  // becomes the gradient
  for (std::int64_t r = 0; r < l.rows; ++r) {
    auto const target = a.targets.as<std::int32_t>()[r];
    for (std::int64_t v = 0; v < l.vocab; ++v) {
      auto& at = l.values[static_cast<std::size_t>(r * l.vocab + v)];
      at = target < 0 ? 0 : std::exp(at - get(a.max, r)) / get(a.sum, r) - (a.part.first + v == target ? 1 : 0);
    }
  }
  auto const g = [&](std::int64_t r, std::int64_t v) {  // 0 in padding
    return v < l.vocab ? l.values[static_cast<std::size_t>(r * l.vocab + v)] : 0;
  };
  for (std::int64_t r = 0; r < l.rows; ++r) {
    for (std::int64_t d = 0; d < l.model; ++d) {
      double sum = 0;
      for (std::int64_t v = 0; v < l.vocab; ++v) sum += g(r, v) * get(a.w, v * l.model + d);
      put(a.dx, r * l.model + d, sum);
    }
  }
  auto const words = a.w.spec.shape[0];
  for (std::int64_t i = 0; a.dlogits && i < l.rows * words; ++i) put(a.dlogits, i, g(i / words, i % words));
  for (std::int64_t v = 0; a.dw && v < words; ++v) {
    for (std::int64_t d = 0; d < l.model; ++d) {
      double sum = 0;
      for (std::int64_t r = 0; r < l.rows; ++r) sum += g(r, v) * get(a.x, r * l.model + d);
      put_or_add(a.dw, v * l.model + d, sum, a.accumulate, 1);
    }
    double sum = 0;
    for (std::int64_t r = 0; r < l.rows; ++r) sum += g(r, v);
    if (a.dbias) put_or_add(a.dbias, v, sum, a.accumulate, 2);
  }
}

void head_loss_reference(HeadLossArgs const& a) {
  auto const rows = a.x.spec.count() / a.x.spec.shape.back();
  std::vector<float> max(static_cast<std::size_t>(rows)), sum(max), target(max);
  auto const ref = [&](std::vector<float>& v) { return TensorRef{v.data(), {DType::f32, {rows}}}; };
  head_loss_stats_reference({.x = a.x,
                             .w = a.w,
                             .bias = a.bias,
                             .targets = a.targets,
                             .max = ref(max),
                             .sum = ref(sum),
                             .target = ref(target),
                             .scratch = {}});
  double loss = 0, count = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (a.targets.as<std::int32_t>()[r] < 0) continue;
    auto const i = static_cast<std::size_t>(r);
    loss += double{max[i]} + std::log(double{sum[i]}) - double{target[i]}, count += 1;
  }
  put_or_add(a.loss, 0, loss, a.accumulate, 0);
  put_or_add(a.loss, 1, count, a.accumulate, 0);
  head_loss_grad_reference({.x = a.x,
                            .w = a.w,
                            .bias = a.bias,
                            .targets = a.targets,
                            .max = ref(max),
                            .sum = ref(sum),
                            .dx = a.dx,
                            .dlogits = a.dlogits,
                            .dw = a.dw,
                            .dbias = a.dbias,
                            .scratch = {},
                            .accumulate = a.accumulate >> 1});
}

}  // namespace lamina::kernels
