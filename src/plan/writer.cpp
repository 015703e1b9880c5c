#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/lowering.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

ProgramWriter::ProgramWriter(Plan const& plan, program::Template& shape, Buffers& buffers, std::string name)
    : plan_(plan), shape_(shape), buffers_(buffers), index_(static_cast<int>(shape.programs.size())) {
  shape.programs.push_back({.name = std::move(name), .streams = {{.name = "compute", .group = -1}}, .steps = {}});
}

int ProgramWriter::push(Step step) {
  int const id = static_cast<int>(steps().size());
  if (step.stream == 0) last_compute_ = id;
  steps().push_back(std::move(step));
  return id;
}

/// Bits of the outputs that add to what an earlier step of this program left.
std::int64_t ProgramWriter::accumulate_mask(graph::Op const& op, std::vector<int> const& out) {
  written_.resize(shape_.buffers.size());
  std::int64_t mask = 0;
  for (std::size_t o = 0; o < out.size(); ++o) {
    if (!op.accumulates(static_cast<int>(o))) continue;
    auto known = written_[static_cast<std::size_t>(out[o])];
    if (known) mask |= std::int64_t{1} << o;
    known = true;
  }
  return mask;
}

int ProgramWriter::kernel(graph::Op const& op, std::vector<int> in, std::vector<int> out, std::string layer) {
  std::vector<TensorSpec> specs;
  for (int const b : in) specs.push_back(buffers_[b].spec);
  auto const cost = op.cost(specs);
  Step step;
  step.op = op.kind();
  step.attributes = op.attributes();
  step.layer = std::move(layer);
  step.bytes = cost.bytes, step.flops = cost.flops;
  if (auto const bytes = op.scratch_bytes(specs, plan_.machine.threads); bytes > 0) {
    out.push_back(buffers_.scratch(index_, steps().size(), bytes));
  }
  step.in = std::move(in), step.out = std::move(out);
  return push(std::move(step));
}

int ProgramWriter::kernel(std::string kind, std::vector<int> in, std::vector<int> out) {
  Step step;
  step.op = std::move(kind);
  step.in = std::move(in), step.out = std::move(out);
  for (int const b : step.in) step.bytes += buffers_[b].spec.bytes();
  for (int const b : step.out) step.bytes += buffers_[b].spec.bytes();
  return push(std::move(step));
}

int ProgramWriter::node(Part const& part, graph::Node const& node, std::int64_t m) {
  bool const counted = part.program == "forward_backward" && node.phase != graph::Phase::update;
  std::vector<TensorSpec> values, operands;  // what the op is about, and what the kernel gets in its place
  Step step;
  step.attributes = node.op->attributes();
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    int b = buffers_.of(part, index_, node.in[i], m);
    values.push_back(buffers_[b].spec);
    if (auto const copy = working_copy(plan_, part, node, static_cast<int>(i))) {
      b = buffers_.find(copy->name, Role::packed);
      if (copy->packed) step.attributes.set("packed", std::int64_t{1});
    }
    operands.push_back(buffers_[b].spec);
    step.in.push_back(b);
  }
  bool accumulates = false;
  for (std::size_t o = 0; o < node.out.size(); ++o) {
    step.out.push_back(buffers_.of(part, index_, node.out[o], m));
    accumulates |= node.op->accumulates(static_cast<int>(o));
  }
  if (accumulates) step.attributes.set("accumulate", accumulate_mask(*node.op, step.out));
  // Only what the sample's index in the replica decides may differ between micro-batches; nothing is per rank.
  if (step.attributes.real("p", 0.0) > 0) step.attributes.set("sample", m * plan_.config.batch.micro);
  if (auto const bytes = node.op->scratch_bytes(operands, plan_.machine.threads); bytes > 0) {
    step.out.push_back(buffers_.scratch(index_, steps().size(), bytes));
  }
  auto const cost = node.op->cost(values);
  step.op = node.op->kind();
  step.layer = node.layer;
  step.bytes = cost.bytes, step.flops = cost.flops;
  step.micro_batch = counted ? static_cast<int>(m) : -1;
  return push(std::move(step));
}

int ProgramWriter::all_reduce(std::string const& group, std::vector<int> const& buffers, std::vector<int> after,
                              std::string layer) {
  auto const g =
      std::find_if(shape_.groups.begin(), shape_.groups.end(), [&](auto const& x) { return x.name == group; });
  auto& streams = shape_.programs[static_cast<std::size_t>(index_)].streams;
  auto const name = text("comm.", group);
  auto s = std::find_if(streams.begin(), streams.end(), [&](auto const& x) { return x.name == name; });
  if (s == streams.end()) {
    s = streams.insert(s, {.name = name, .group = static_cast<int>(g - shape_.groups.begin())});
  }
  Step step;
  step.stream = static_cast<int>(s - streams.begin());
  step.kind = StepKind::all_reduce;
  step.attributes.set("reduce", std::string("sum"));
  step.in = step.out = buffers;
  step.group = s->group;
  step.layer = std::move(layer);
  step.after = std::move(after);
  for (int const b : buffers) step.bytes += buffers_[b].spec.bytes();
  return push(std::move(step));
}

}  // namespace lamina::plan
