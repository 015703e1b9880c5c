#include "detail/operands.hpp"

#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::runtime::detail {

Operands::Operands(program::Step const& step, std::vector<TensorRef> in, std::vector<TensorRef> out, bool has_scratch,
                   bool reference, std::string where)
    : step_(step), in_(std::move(in)), out_(std::move(out)), reference_(reference), where_(std::move(where)) {
  if (!has_scratch) return;
  scratch_ = out_.back();
  out_.pop_back();
}

TensorRef Operands::next(std::vector<TensorRef> const& list, std::size_t& at, char const* what) {
  if (at == list.size()) fail_operands(text("only ", list.size(), " ", what));
  return list[at++];
}

TensorRef Operands::out_over(TensorRef const& input) {
  auto const t = out();
  if (t.data == input.data && t.spec == input.spec) return t;
  fail({.code = "runtime.bind.in_place",
        .subject = where_,
        .found = text("output ", next_out_ - 1, " is another buffer than the input it updates"),
        .expected = "the same buffer in `in` and `out`",
        .fix = "see the table of ops in src/graph/README.md: this op overwrites its input"});
}

std::vector<TensorRef> Operands::all_in() {
  std::vector<TensorRef> rest(in_.begin() + static_cast<std::ptrdiff_t>(next_in_), in_.end());
  next_in_ = in_.size();
  return rest;
}

DType Operands::dtype(std::string_view name) const {
  auto const& word = attributes().string(name);
  if (auto const found = find_dtype(word)) return *found;
  fail({.code = "runtime.bind.dtype",
        .subject = where_,
        .found = text("attribute ", name, " = \"", word, "\""),
        .expected = "the name of an element type, such as f32 or bf16",
        .fix = "correct the program, or the op that wrote the attribute"});
}

void Operands::finish() const {
  if (next_in_ == in_.size() && next_out_ == out_.size()) return;
  fail_operands(text(in_.size(), " inputs and ", out_.size(), " outputs; ", next_in_, " and ", next_out_, " are used"));
}

void Operands::fail_operands(std::string found) const {
  fail({.code = "runtime.bind.operands",
        .subject = where_,
        .found = std::move(found),
        .expected = "the operands of the op's row in src/graph/README.md, as its attributes say",
        .fix = "make attributes and operands of the step agree"});
}

}  // namespace lamina::runtime::detail
