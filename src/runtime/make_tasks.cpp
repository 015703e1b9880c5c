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

/// The attribute `rows`: "0,4,8;0,1,2", a list per operand; equal parts where it is absent.
Rows rows_of(program::Step const& step, std::size_t operand, TensorRef const& whole, int size,
             std::string const& where) {
  auto const& shape = whole.spec.shape;
  Rows rows;
  if (!step.attributes.has("rows")) {
    auto const count = shape.ndim() > 0 ? shape[0] : 0;
    for (int r = 0; r <= size; ++r) rows.push_back(count / size * r);
    if (count % size == 0 && shape.ndim() > 0) return rows;
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
        .fix = "correct the attribute 'rows' of the step"});
}

/// Rows of this rank inside the whole, for steps that work in place.
TensorRef own_rows(TensorRef const& whole, Rows const& rows, int rank) {
  auto part = whole;
  auto const& shape = whole.spec.shape;
  auto const row_bytes = shape.count(1, shape.ndim()) * sizeof_dtype(whole.spec.dtype);
  part.data = whole.as<char>() + rows[rank] * row_bytes;
  part.spec.shape[0] = rows[rank + 1] - rows[rank];
  return part;
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
      if (reduce_of(step, where) != comm::Reduce::sum) break;
      for (std::size_t i = 0; i < pairs; ++i) {
        auto rows = rows_of(step, i, in[i], group->size(), where);
        auto const part = in[i].data == out[i].data ? own_rows(in[i], rows, group->rank()) : out[i];
        tasks.push_back(group->make_reduce_scatter(in[i], part, std::move(rows)));
      }
      break;
    case StepKind::all_gather:
      for (std::size_t i = 0; i < pairs; ++i) {
        auto rows = rows_of(step, i, out[i], group->size(), where);
        auto const part = in[i].data == out[i].data ? own_rows(out[i], rows, group->rank()) : in[i];
        tasks.push_back(group->make_all_gather(part, out[i], std::move(rows)));
      }
      break;
    case StepKind::all_to_all:
    case StepKind::kernel:
      break;
  }
  if (!tasks.empty()) return tasks;
  fail({.code = "runtime.bind.kind",
        .subject = where,
        .found = text("a ", name_of(step.kind), " of ", step.in.size(), " inputs and ", step.out.size(), " outputs"),
        .expected =
            "a communication or copy with operands; all_to_all and reduce_scatter of maxima are not available yet",
        .fix = "choose a plan without this step"});
}

}  // namespace lamina::runtime::detail
