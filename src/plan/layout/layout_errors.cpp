#include "plan/detail/layout_errors.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::plan {

std::string LayoutErrors::where(graph::Node const& n) const { return text(n.layer, ": ", n.op->kind()); }
std::string LayoutErrors::over(std::size_t axis) const { return text(" over mesh axis '", mesh_.axes[axis], "'"); }

void LayoutErrors::partial(graph::Node const& node, int value, AxisLayout layout, std::size_t axis) const {
  fail({.code = "plan.layout.partial",
        .subject = text(where(node), " reads ", graph_.value(value).name, over(axis)),
        .found = to_text(layout),
        .expected = "replicate or shard: each rank holds only a term of the sum",
        .fix = "accumulate it into a gradient, which the plan reduces, or sum over a dim that is not split"});
}

void LayoutErrors::whole(graph::Node const& node, int value, AxisLayout layout, std::size_t axis) const {
  auto const& v = graph_.value(value);
  auto const& dim = v.dims.empty() ? std::string() : v.dims[static_cast<std::size_t>(layout.dim)];
  fail({.code = "plan.layout.whole",
        .subject = text(where(node), " reads ", v.name, over(axis)),
        .found = text(to_text(layout), ", dim '", dim, "'; rule \"", node.op->shard_rule().letters, "\""),
        .expected = "replicate: the op needs this dim whole",
        .fix = text("set mesh.", mesh_.axes[axis], " = 1, give the dim a name that no axis splits, or set ",
                    "parallel.split = [{ layers = \"", node.layer, "\", dim = \"none\" }]")});
}

void LayoutErrors::mismatch(graph::Node const& node, int a, int b, std::size_t axis, Layouts const& layouts) const {
  fail({.code = "plan.layout.mismatch",
        .subject = text(where(node), " combines ", graph_.value(a).name, " and ", graph_.value(b).name, over(axis)),
        .found = text(graph_.value(a).name, " is ", to_text(layouts.at(a, -1, axis)), ", ", graph_.value(b).name,
                      " is ", to_text(layouts.at(b, -1, axis))),
        .expected = text("equal cuts of equal letters of \"", node.op->shard_rule().letters, "\""),
        .fix = text("give the layers that use them the same parallel.split (attention: \"out\" or \"none\"); in a "
                    "model of your own give the dims of both ",
                    "tensors the same logical names")});
}

void LayoutErrors::output(graph::Node const& node, int value, char letter, std::size_t axis) const {
  fail({.code = "plan.layout.output",
        .subject = text(where(node), " writes ", graph_.value(value).name, over(axis)),
        .found = text("letter '", letter, "' is split, and this output neither has it nor sums over it"),
        .expected = text("a '+' or '=' term in \"", node.op->shard_rule().letters, "\""),
        .fix = text("set mesh.", mesh_.axes[axis], " = 1, or correct Op::shard_rule of this op")});
}

void LayoutErrors::writers(graph::Node const& node, int state, AxisLayout layout, AxisLayout known,
                           std::size_t axis) const {
  fail(
      {.code = "plan.layout.writers",
       .subject = text(where(node), " writes ", graph_.value(state).name, over(axis)),
       .found = text(to_text(layout), ", while it is ", to_text(known)),
       .expected = "all writers of a tensor leave it in one layout",
       .fix =
           "use the parameter in layers that are split alike, without parallel.sequence_parallel where it is whole, or "
           "give each its own parameter (model.tied = false)"});
}

void fail_divisibility(graph::Value const& value, int dim, std::int64_t extent, Mesh const& mesh, std::size_t axis) {
  auto const name = static_cast<std::size_t>(dim) < value.dims.size() ? value.dims[static_cast<std::size_t>(dim)] : "";
  std::int64_t const parts = mesh.sizes[axis];
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d <= extent && divisors.size() < 16; ++d) {
    if (extent % d == 0) divisors.push_back(d);
  }
  fail({.code = "plan.shard.divisibility",
        .subject =
            text(value.name, ": cannot split dim ", dim, " ('", name, "') over mesh axis '", mesh.axes[axis], "'"),
        .found = text("extent ", extent, ", mesh.", mesh.axes[axis], " = ", parts),
        .expected = text("mesh.", mesh.axes[axis], " divides the extent; divisors: ", join(divisors)),
        .fix = text("set mesh.", mesh.axes[axis], " to one of these, or take an extent from ",
                    std::max(parts, extent / parts * parts), ", ", (std::max(parts, extent) / parts + 1) * parts,
                    mesh.axes[axis] == "tp" ? ", or leave its layer whole: parallel.split with dim = \"none\"" : "")});
}

}  // namespace lamina::plan
