#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/lowering.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

std::string pair_group(int from, int to) { return text("pp.", from, ">", to); }
std::string tie_group(std::vector<int> const& coordinates) { return text("tie.", join(coordinates, "+")); }

ProgramWriter::ProgramWriter(Plan const& plan, program::Template& shape, Buffers& buffers, std::string name)
    : plan_(plan), shape_(shape), buffers_(buffers), index_(static_cast<int>(shape.programs.size())) {
  shape.programs.push_back({.name = std::move(name), .streams = {{.name = "compute", .group = -1}}, .steps = {}});
  known_.resize(1);
}

/// Adds an edge unless stream order or an earlier edge of the stream says the same.
void ProgramWriter::depend(Step& step, int on) {
  if (on < 0) return;
  auto const stream = steps()[static_cast<std::size_t>(on)].stream;
  if (stream == step.stream) return;
  auto& seen = known_[static_cast<std::size_t>(step.stream)];
  seen.resize(std::max(seen.size(), static_cast<std::size_t>(stream) + 1), -1);
  if (seen[static_cast<std::size_t>(stream)] >= on) return;
  seen[static_cast<std::size_t>(stream)] = on;
  std::erase_if(step.after, [&](int a) { return steps()[static_cast<std::size_t>(a)].stream == stream; });
  step.after.push_back(on);
}

int ProgramWriter::push(Step step) {
  int const id = static_cast<int>(steps().size());
  uses_.resize(shape_.buffers.size());
  if (step.stream == 0) {
    for (int const p : pending_) depend(step, p);
    pending_.clear();
  }
  auto const is_in = [&](int b) { return std::find(step.in.begin(), step.in.end(), b) != step.in.end(); };
  for (int const b : step.in) depend(step, uses_[static_cast<std::size_t>(b)].write);
  for (int const b : step.out) {
    auto const& use = uses_[static_cast<std::size_t>(b)];
    depend(step, use.write);
    for (int const r : use.reads) depend(step, r);
  }
  for (int const b : step.in) uses_[static_cast<std::size_t>(b)].reads.push_back(id);
  for (int const b : step.out) uses_[static_cast<std::size_t>(b)] = {id, {}};
  for (int const b : step.out) {
    if (is_in(b)) uses_[static_cast<std::size_t>(b)].reads.clear();
  }
  std::sort(step.after.begin(), step.after.end());
  if (step.stream == 0) last_compute_ = id;
  steps().push_back(std::move(step));
  return id;
}

void ProgramWriter::wait_for(int step) { pending_.push_back(step); }

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

int ProgramWriter::kernel(graph::Op const& op, std::vector<TensorSpec> const& specs, std::vector<int> in,
                          std::vector<int> out, Step step) {
  bool accumulates = false;
  for (std::size_t o = 0; o < out.size(); ++o) accumulates |= op.accumulates(static_cast<int>(o));
  if (accumulates) step.attributes.set("accumulate", accumulate_mask(op, out));
  std::vector<TensorSpec> operands;
  for (int const b : in) operands.push_back(buffers_[b].spec);
  if (auto const bytes = op.scratch_bytes(operands, plan_.machine.threads); bytes > 0) {
    out.push_back(buffers_.scratch(index_, steps().size(), bytes));
  }
  auto const cost = op.cost(specs);
  step.op = op.kind();
  step.bytes = cost.bytes, step.flops = cost.flops;
  step.in = std::move(in), step.out = std::move(out);
  return push(std::move(step));
}

int ProgramWriter::kernel(graph::Op const& op, std::vector<int> in, std::vector<int> out, std::string layer) {
  std::vector<TensorSpec> specs;
  for (int const b : in) specs.push_back(buffers_[b].spec);
  Step step;
  step.attributes = op.attributes();
  step.layer = std::move(layer);
  return kernel(op, specs, std::move(in), std::move(out), std::move(step));
}

int ProgramWriter::kernel(std::string kind, std::vector<int> in, std::vector<int> out) {
  Step step;
  step.op = std::move(kind);
  step.in = std::move(in), step.out = std::move(out);
  for (int const b : step.in) step.bytes += buffers_[b].spec.bytes();
  for (int const b : step.out) step.bytes += buffers_[b].spec.bytes();
  return push(std::move(step));
}

int ProgramWriter::copy(int in, int out, std::string layer) {
  Step step;
  step.kind = StepKind::copy;
  step.in = {in}, step.out = {out};
  step.layer = std::move(layer);
  step.bytes = 2 * buffers_[in].spec.bytes();
  return push(std::move(step));
}

int ProgramWriter::stream_of(std::string const& group) {
  auto& streams = shape_.programs[static_cast<std::size_t>(index_)].streams;
  auto const name = text("comm.", group);
  auto const s = std::find_if(streams.begin(), streams.end(), [&](auto const& x) { return x.name == name; });
  if (s != streams.end()) return static_cast<int>(s - streams.begin());
  auto const g =
      std::find_if(shape_.groups.begin(), shape_.groups.end(), [&](auto const& x) { return x.name == group; });
  streams.push_back({.name = name, .group = static_cast<int>(g - shape_.groups.begin())});
  known_.resize(streams.size());
  return static_cast<int>(streams.size()) - 1;
}

int ProgramWriter::communicate(std::string const& group, Step step) {
  step.stream = stream_of(group);
  step.group = shape_.programs[static_cast<std::size_t>(index_)].streams[static_cast<std::size_t>(step.stream)].group;
  auto const wanted = std::exchange(step.after, {});
  for (int const a : wanted) depend(step, a);
  auto const& moved = step.kind == StepKind::all_gather || step.kind == StepKind::recv ? step.out : step.in;
  for (int const b : moved) step.bytes += buffers_[b].spec.bytes();
  return push(std::move(step));
}

}  // namespace lamina::plan
