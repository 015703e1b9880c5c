#include "plan/detail/copies.hpp"

#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"
#include "lamina/tensor/packed.hpp"
#include "plan/detail/policy.hpp"

namespace lamina::plan {
namespace {

struct Packs {
  std::string_view kind, use;
};

// Kernels that take a re-packed weight. The head's take plain ones: they cut their rows into chunks of their own.
constexpr std::array<Packs, 3> packing{{
    {"linear", "forward"},
    {"linear_gelu", "forward"},
    {"linear_grad_input", "backward"},
}};

std::string_view packed_use(Plan const& plan, std::string_view kind, DType product) {
  if (!plan.machine.packs_weights || plan.purpose == Purpose::generate || plan.zero == 3) return "";
  auto const row = std::find_if(packing.begin(), packing.end(), [&](Packs const& p) { return p.kind == kind; });
  if (row == packing.end()) return "";
  bool const f32_too = row->use == "forward" ? pack_f32_forward : pack_f32_backward;
  return product == DType::bf16 || f32_too ? row->use : "";
}

}  // namespace

std::optional<WorkingCopy> working_copy(Plan const& plan, Part const& part, graph::Node const& node, int i) {
  if (!node.op->is_weight(i)) return std::nullopt;
  auto const& w = part.graph.value(node.in[static_cast<std::size_t>(i)]);
  if (w.role != Role::parameter) return std::nullopt;
  auto const x = plan.local_spec(part, node.in[0], part.layouts.operands[static_cast<std::size_t>(node.id)][0]);
  auto const local = plan.local_spec(part, w.id);
  WorkingCopy copy;
  copy.parameter = w.name;
  copy.dtype = x.dtype;  // what enters the product decides its precision
  copy.use = packed_use(plan, node.op->kind(), x.dtype);
  copy.packed = !copy.use.empty();
  if (!copy.packed) {
    if (x.dtype == w.spec.dtype) return std::nullopt;
    copy.name = text(w.name, "@", x.dtype);
    copy.spec = {x.dtype, local.shape};
    return copy;
  }
  auto const attributes = node.op->attributes();
  int const first_k = local.shape.ndim() - static_cast<int>(attributes.integer("contract", 1));
  copy.n = local.shape.count(0, first_k);
  copy.k = local.shape.count(first_k, local.shape.ndim());
  copy.rows = x.shape.count(0, static_cast<int>(attributes.integer("rows_dims", 2)));
  copy.name = text(w.name, "@", copy.use);
  copy.spec = {DType::u8, {packed_weight_bytes(copy.n, copy.k, copy.dtype)}};
  return copy;
}

std::set<std::string> find_masters(Plan const& plan) {
  std::set<std::string> names;
  for (auto const& part : plan.parts) {
    for (auto const& node : part.graph.nodes()) {
      if (node.phase == graph::Phase::update) continue;
      for (int i = 0; i < static_cast<int>(node.in.size()); ++i) {
        auto const& v = part.graph.value(node.in[static_cast<std::size_t>(i)]);
        if (v.role != Role::parameter) continue;
        auto const copy = working_copy(plan, part, node, i);
        if (!copy || copy->packed) names.insert(v.name);
      }
    }
  }
  return names;
}

}  // namespace lamina::plan
