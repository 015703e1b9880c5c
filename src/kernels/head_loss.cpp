#include "lamina/kernels/head_loss.hpp"

#include <algorithm>

#include "detail/head.hpp"
#include "detail/linear.hpp"
#include "lamina/kernels/loss_sum.hpp"

namespace lamina::kernels {
namespace {

/// dx, dlogits, dw and dbias fit x, w and bias.
void check_gradients(detail::Check const& check, detail::HeadOperands const& o, detail::HeadGradients const& to) {
  check.dtype("dx", to.dx, {DType::f32, DType::bf16});
  check.shape("dx", to.dx, o.x.spec.shape);
  if (to.dlogits) {
    check.dtype("dlogits", to.dlogits, {o.x.spec.dtype});
    check.count("dlogits", to.dlogits, o.targets.spec.count() * o.w.spec.shape[0]);
    return;
  }
  check.dtype("dw", to.dw, {DType::f32});
  check.shape("dw", to.dw, o.w.spec.shape);
  if (o.bias) check.present("dbias", to.dbias);
  detail::check_bias(check, "dbias", to.dbias, o.w.spec.shape[0]);
}

void check_statistics(detail::Check const& check, std::int64_t rows,
                      std::initializer_list<std::pair<std::string_view, TensorRef const*>> of_rows) {
  for (auto const& [name, t] : of_rows) {
    check.dtype(name, *t, {DType::f32});
    check.count(name, *t, rows);
  }
}

}  // namespace

void head_loss(device::Stream& stream, HeadLossArgs const& a) {
  detail::Check const check{"head_loss"};
  stream.wait();
  detail::HeadOperands const o{a.x, a.w, a.bias, a.targets, a.scratch};
  detail::HeadGradients const to{a.dx, a.dlogits, a.dw, a.dbias, a.accumulate >> 2};
  check_gradients(check, o, to);
  detail::Head head(check, o, true, &a.dx.spec.dtype);
  for (std::int64_t r = 0; r < head.rows(); r += head.chunk()) {
    head.statistics(r);
    head.gradients(r, to);
  }
  auto const of_rows = [&](float* p) { return TensorRef{p, {DType::f32, {head.rows()}}}; };
  loss_sum(stream, {.max = of_rows(head.max),
                    .sum = of_rows(head.sum),
                    .target = of_rows(head.target),
                    .targets = {a.targets.data, {DType::i32, {head.rows()}}},
                    .loss = a.loss,
                    .accumulate = a.accumulate & 1});
}

void head_loss_stats(device::Stream& stream, HeadLossStatsArgs const& a) {
  detail::Check const check{"head_loss_stats"};
  stream.wait();
  detail::Head head(check, {a.x, a.w, a.bias, a.targets, a.scratch, a.part}, false, nullptr);
  check_statistics(check, head.rows(), {{"max", &a.max}, {"sum", &a.sum}, {"target", &a.target}});
  for (std::int64_t r = 0; r < head.rows(); r += head.chunk()) head.statistics(r);
  std::copy(head.max, head.max + head.rows(), a.max.as<float>());
  std::copy(head.sum, head.sum + head.rows(), a.sum.as<float>());
  std::copy(head.target, head.target + head.rows(), a.target.as<float>());
}

void head_loss_grad(device::Stream& stream, HeadLossGradArgs const& a) {
  detail::Check const check{"head_loss_grad"};
  stream.wait();
  detail::HeadOperands const o{a.x, a.w, a.bias, a.targets, a.scratch, a.part};
  detail::HeadGradients const to{a.dx, a.dlogits, a.dw, a.dbias, a.accumulate >> 1};
  check_gradients(check, o, to);
  detail::Head head(check, o, false, &a.dx.spec.dtype);
  check_statistics(check, head.rows(), {{"max", &a.max}, {"sum", &a.sum}});
  std::copy_n(a.max.as<float>(), head.rows(), head.max);
  std::copy_n(a.sum.as<float>(), head.rows(), head.sum);
  for (std::int64_t r = 0; r < head.rows(); r += head.chunk()) head.gradients(r, to);
}

}  // namespace lamina::kernels
