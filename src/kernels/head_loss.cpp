#include "lamina/kernels/head_loss.hpp"

#include <algorithm>

#include "detail/head.hpp"
#include "detail/linear.hpp"
#include "lamina/kernels/loss_sum.hpp"

namespace lamina::kernels {
namespace {

/// dx, dw and dbias fit x, w and bias.
void check_gradients(detail::Check const& check, detail::HeadOperands const& o, TensorRef const& dx,
                     TensorRef const& dw, TensorRef const& dbias) {
  check.dtype("dx", dx, {DType::f32, DType::bf16});
  check.shape("dx", dx, o.x.spec.shape);
  check.dtype("dw", dw, {DType::f32});
  check.shape("dw", dw, o.w.spec.shape);
  if (o.bias) check.present("dbias", dbias);
  detail::check_bias(check, "dbias", dbias, o.w.spec.shape[0]);
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
  check_gradients(check, o, a.dx, a.dw, a.dbias);
  detail::Head head(check, o, true, &a.dx.spec.dtype);
  for (std::int64_t r = 0; r < head.rows(); r += head.chunk()) {
    head.statistics(r);
    head.gradients(r, a.dx, a.dw, a.dbias, a.accumulate >> 2);
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
  check_gradients(check, o, a.dx, a.dw, a.dbias);
  detail::Head head(check, o, false, &a.dx.spec.dtype);
  check_statistics(check, head.rows(), {{"max", &a.max}, {"sum", &a.sum}});
  std::copy_n(a.max.as<float>(), head.rows(), head.max);
  std::copy_n(a.sum.as<float>(), head.rows(), head.sum);
  for (std::int64_t r = 0; r < head.rows(); r += head.chunk()) {
    head.gradients(r, a.dx, a.dw, a.dbias, a.accumulate >> 1);
  }
}

}  // namespace lamina::kernels
