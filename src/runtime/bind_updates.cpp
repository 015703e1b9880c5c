// What happens between the passes: optimizers, the norm of gradients, packed weights, plain values.
#include "detail/bind_updates.hpp"

#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/exact.hpp"
#include "lamina/kernels/fill.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/kernels/sgd.hpp"
#include "lamina/kernels/square_norm.hpp"

namespace lamina::runtime::detail {

namespace k = kernels;

namespace {

struct NormArgs {
  std::vector<TensorRef> g;
  TensorRef norm;
  int accumulate;
};

void square_norm(device::Stream& stream, NormArgs const& a) {
  k::square_norm(stream, {.g = a.g, .norm = a.norm, .accumulate = a.accumulate});
}
void square_norm_reference(NormArgs const& a) {
  k::square_norm_reference({.g = a.g, .norm = a.norm, .accumulate = a.accumulate});
}

void square_norm_exact(device::Stream& stream, NormArgs const& a) {
  k::square_norm_exact(stream, {.g = a.g, .norm = a.norm, .accumulate = a.accumulate});
}

/// Where several ranks have the same gradients, one of them counts them.

}  // namespace

Kernel bind_adamw(Operands& o) {
  auto const g = o.in_rows(), p = o.in_rows(), m = o.in_rows(), v = o.in_rows();
  return o.kernel<k::adamw, k::adamw_reference>(k::AdamWArgs{.g = g,
                                                             .p = o.out_rows_over(p),
                                                             .m = o.out_rows_over(m),
                                                             .v = o.out_rows_over(v),
                                                             .hyper = o.in(),
                                                             .beta1 = o.attributes().real("beta1"),
                                                             .beta2 = o.attributes().real("beta2"),
                                                             .eps = o.attributes().real("eps"),
                                                             .weight_decay = o.attributes().real("weight_decay")});
}

Kernel bind_sgd(Operands& o) {
  auto const g = o.in_rows(), p = o.in_rows(), m = o.in_rows();
  return o.kernel<k::sgd, k::sgd_reference>(k::SgdArgs{.g = g,
                                                       .p = o.out_rows_over(p),
                                                       .m = o.out_rows_over(m),
                                                       .hyper = o.in(),
                                                       .momentum = o.attributes().real("momentum"),
                                                       .weight_decay = o.attributes().real("weight_decay")});
}

/// The arguments name a list; it lives beside them.
Kernel bind_square_norm(Operands& o) {
  auto g = o.all_in_rows();
  if (!o.is_holder()) g.clear();
  NormArgs args{.g = std::move(g), .norm = o.out(), .accumulate = o.accumulate()};
  if (o.flag("exact")) return o.always<square_norm_exact>(std::move(args));
  return o.kernel<square_norm, square_norm_reference>(std::move(args));
}

[[noreturn]] void pack_nothing(k::PackWeightArgs const& a) {
  fail({.code = "runtime.bind.packed",
        .subject = "pack_weight",
        .found = text("a program that packs a weight ", a.w.spec),
        .expected = "plain weights for the plain reference kernels",
        .fix = "plan with Machine::packs_weights = false"});
}

Kernel bind_pack_weight(Operands& o) {
  auto const& a = o.attributes();
  return o.kernel<k::pack_weight, pack_nothing>(
      k::PackWeightArgs{.w = o.in(),
                        .packed = o.out(),
                        .scratch = o.scratch(),
                        .n = a.integer("n"),
                        .k = a.integer("k"),
                        .rows = a.integer("rows"),
                        .dtype = o.dtype("dtype"),
                        .use = a.string("use") == "backward" ? k::PackUse::backward : k::PackUse::forward});
}

Kernel bind_zero(Operands& o) { return o.kernel<k::zero, k::zero_reference>(k::ZeroArgs{.y = o.out()}); }

Kernel bind_fill(Operands& o) {
  return o.kernel<k::fill, k::fill_reference>(k::FillArgs{.y = o.out(), .value = o.attributes().real("value")});
}

}  // namespace lamina::runtime::detail
