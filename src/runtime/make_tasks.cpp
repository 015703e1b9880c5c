#include <algorithm>
#include <charconv>
#include <cstring>

#include "detail/bound_program.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::runtime::detail {
namespace {

using program::StepKind;
using Rows = std::vector<std::int64_t>;

/// Copies between host buffers, a piece a look, so that other streams get their turn.
class CopyTask final : public device::Task {
 public:
  CopyTask(TensorRef from, TensorRef to) : from_(from), to_(to) {}
  void start() override { done_ = 0; }
  bool advance() override {
    auto const bytes = std::min(piece, from_.spec.bytes() - done_);
    if (bytes > 0) std::memcpy(to_.as<char>() + done_, from_.as<char>() + done_, static_cast<std::size_t>(bytes));
    done_ += bytes;
    return done_ >= from_.spec.bytes();
  }
  std::uint64_t progress() const override { return static_cast<std::uint64_t>(done_); }

 private:
  static constexpr std::int64_t piece = std::int64_t{1} << 20;
  TensorRef from_, to_;
  std::int64_t done_ = 0;
};

/// The attributes `dim` and `flat`: what the rows of a step are.
comm::RowsOf rows_kind(program::Step const& step) {
  return {.dim = static_cast<int>(step.attributes.integer("dim", 0)), .flat = step.attributes.integer("flat", 0) != 0};
}

/// Number of rows of a tensor; -1 where it has none of that kind.
std::int64_t row_count(Shape const& shape, comm::RowsOf of) {
  if (shape.ndim() == 0) return -1;
  if (!of.flat) return of.dim >= 0 && of.dim < shape.ndim() ? shape[of.dim] : -1;
  if (shape.ndim() == 1) return shape[0];
  return shape.back() > 0 ? shape.count() / shape.back() : 0;
}

/// The attribute `rows`: "0,4,8;0,1,2", a list per operand; equal parts where it is absent.
Rows rows_of(program::Step const& step, std::size_t operand, TensorRef const& whole, int size,
             std::string const& where) {
  Rows rows;
  if (!step.attributes.has("rows")) {
    auto const count = row_count(whole.spec.shape, rows_kind(step));
    for (int r = 0; r <= size; ++r) rows.push_back(count / size * r);
    if (count >= 0 && count % size == 0) return rows;
  } else {
    auto const lists = split(step.attributes.string("rows"), ';');
    bool sound = operand < lists.size();
    for (auto const& word : split(sound ? lists[operand] : "", ',')) {
      auto const* const end = word.data() + word.size();
      auto& n = rows.emplace_back(-1);
      sound = sound && !word.empty() && std::from_chars(word.data(), end, n).ptr == end && n >= 0;
    }
    if (sound && std::ssize(rows) == size + 1) return rows;
  }
  fail({.code = "runtime.bind.rows",
        .subject = where,
        .found = step.attributes.has("rows") ? text("rows = \"", step.attributes.string("rows"), "\" for ", whole.spec)
                                             : text(whole.spec, " in equal parts"),
        .expected =
            text(size, " parts: ", size + 1, " row numbers per operand, or a number of rows that ", size, " divides"),
        .fix = "correct the attributes 'rows', 'dim' and 'flat' of the step"});
}

/// A whole, its rows, and this rank's part, which is inside the whole in steps that work in place.
comm::RowCut cut_of(program::Step const& step, std::size_t operand, TensorRef const& whole, TensorRef part,
                    comm::Communicator const& group, std::string const& where) {
  auto rows = rows_of(step, operand, whole, group.size(), where);
  auto const of = rows_kind(step);
  auto const& shape = whole.spec.shape;
  if (part.data == whole.data && (of.flat || of.dim == 0) && shape.ndim() > 0) {
    auto const inner = !of.flat ? shape.count(1, shape.ndim()) : shape.ndim() > 1 ? shape.back() : 1;
    part.data = whole.as<char>() + rows[group.rank()] * inner * sizeof_dtype(whole.spec.dtype);
    part.spec.shape = {rows[group.rank() + 1] - rows[group.rank()], inner};
  }
  return {whole, part, std::move(rows)};
}

comm::Reduce reduce_of(program::Step const& step, std::string const& where) {
  auto const word = step.attributes.string("reduce", "sum");
  if (word == "sum") return comm::Reduce::sum;
  if (word == "max") return comm::Reduce::max;
  fail({.code = "runtime.bind.reduce",
        .subject = where,
        .found = text("reduce = \"", word, "\""),
        .expected = "sum or max",
        .fix = "correct the attribute 'reduce' of the step"});
}

}  // namespace

std::vector<std::unique_ptr<device::Task>> make_tasks(program::Step const& step, Memory const& memory,
                                                      comm::Communicator const* group, std::string const& where) {
  std::vector<std::unique_ptr<device::Task>> tasks;
  std::vector<TensorRef> in, out;
  for (int const b : step.in) in.push_back(memory.ref(b));
  for (int const b : step.out) out.push_back(memory.ref(b));
  auto const pairs = std::min(in.size(), out.size());
  std::vector<comm::RowCut> cuts;
  switch (step.kind) {
    case StepKind::copy:
      for (std::size_t i = 0; i < pairs; ++i) tasks.push_back(std::make_unique<CopyTask>(in[i], out[i]));
      break;
    case StepKind::send:
      for (auto const& t : in) tasks.push_back(group->make_send(t, step.peer));
      break;
    case StepKind::recv:
      for (auto const& t : out) tasks.push_back(group->make_recv(t, step.peer));
      break;
    case StepKind::all_reduce:
      tasks.push_back(group->make_all_reduce(out, reduce_of(step, where)));
      break;
    case StepKind::broadcast:
      for (auto const& t : out) tasks.push_back(group->make_broadcast(t, step.peer));
      break;
    case StepKind::barrier:
      tasks.push_back(group->make_barrier());
      break;
    case StepKind::reduce_scatter:
      for (std::size_t i = 0; i < pairs; ++i) cuts.push_back(cut_of(step, i, in[i], out[i], *group, where));
      tasks.push_back(group->make_reduce_scatter(std::move(cuts), rows_kind(step), reduce_of(step, where)));
      break;
    case StepKind::all_gather:
      for (std::size_t i = 0; i < pairs; ++i) cuts.push_back(cut_of(step, i, out[i], in[i], *group, where));
      tasks.push_back(group->make_all_gather(std::move(cuts), rows_kind(step)));
      break;
    case StepKind::all_to_all:
    case StepKind::kernel:
      break;
  }
  if (!tasks.empty()) return tasks;
  fail({.code = "runtime.bind.kind",
        .subject = where,
        .found = text("a ", name_of(step.kind), " of ", step.in.size(), " inputs and ", step.out.size(), " outputs"),
        .expected = "a communication or copy with operands; all_to_all is not available yet",
        .fix = "choose a plan without this step"});
}

}  // namespace lamina::runtime::detail
