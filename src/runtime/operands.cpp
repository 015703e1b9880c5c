#include "detail/operands.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::runtime::detail {

Operands::Operands(program::ProgramSet const& set, program::Step const& step, std::vector<TensorRef> in,
                   std::vector<TensorRef> out, bool has_scratch, bool reference, std::string where)
    : set_(set),
      step_(step),
      in_(std::move(in)),
      out_(std::move(out)),
      reference_(reference),
      where_(std::move(where)) {
  if (!has_scratch) return;
  scratch_ = out_.back();
  out_.pop_back();
}

TensorRef Operands::next(std::vector<TensorRef> const& list, std::size_t& at, char const* what) {
  if (at == list.size()) fail_operands(text("only ", list.size(), " ", what));
  return list[at++];
}

TensorRef Operands::out_over(TensorRef const& input) { return require_same(out(), input); }
TensorRef Operands::out_rows_over(TensorRef const& input) { return require_same(out_rows(), input); }

TensorRef Operands::require_same(TensorRef const& t, TensorRef const& input) const {
  if (t.data == input.data && t.spec == input.spec) return t;
  fail({.code = "runtime.bind.in_place",
        .subject = where_,
        .found = text("output ", next_out_ - 1, " is another buffer than the input it updates"),
        .expected = "the same buffer in `in` and `out`",
        .fix = "see the table of ops in src/graph/README.md: this op overwrites its input"});
}

std::vector<TensorRef> Operands::all_in_rows() {
  std::vector<TensorRef> rest;
  while (next_in_ < in_.size()) rest.push_back(in_rows());
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

int Operands::coordinate(std::string_view axis) const {
  auto const& b = set_.binding;
  auto const at = std::find(b.axes.begin(), b.axes.end(), axis);
  auto const i = static_cast<std::size_t>(at - b.axes.begin());
  if (at != b.axes.end() && i < b.coordinates.size()) return b.coordinates[i];
  fail({.code = "runtime.bind.axis",
        .subject = where_,
        .found = text("mesh axis '", axis, "'"),
        .expected = b.axes.empty() ? "no axis: this rank has no coordinates" : text("one of ", join(b.axes)),
        .fix = "correct the attribute 'holder', 'split_axis' or 'rows_axis' of the step"});
}

/// The group that is named after the axis has all ranks along it.
int Operands::ranks_along(std::string_view axis) const {
  auto const& groups = set_.shape->groups;
  auto const at = std::find_if(groups.begin(), groups.end(), [&](auto const& g) { return g.name == axis; });
  auto const i = static_cast<std::size_t>(at - groups.begin());
  if (at != groups.end() && i < set_.binding.members.size()) return static_cast<int>(set_.binding.members[i].size());
  fail({.code = "runtime.bind.axis",
        .subject = where_,
        .found = text("no group '", axis, "'"),
        .expected = "a group of all ranks along the mesh axis, named like it",
        .fix = "plan the group, or correct the attribute 'split_axis' of the step"});
}

bool Operands::is_holder() const {
  auto const axes = attributes().string("holder", "");
  if (axes.empty()) return true;
  auto const list = split(axes, ',');
  return std::all_of(list.begin(), list.end(), [&](auto const& axis) { return coordinate(trim(axis)) == 0; });
}

Operands::Cut Operands::cut() const {
  auto const axis = attributes().string("split_axis", "");
  if (axis.empty()) return {};
  Cut const cut{.there = true,
                .dim = static_cast<int>(attributes().integer("split_dim")),
                .coordinate = coordinate(axis),
                .parts = ranks_along(axis)};
  if (cut.coordinate < cut.parts) return cut;
  fail({.code = "runtime.bind.axis",
        .subject = where_,
        .found = text("coordinate ", cut.coordinate, " along ", axis, ", and ", cut.parts, " ranks"),
        .expected = "a coordinate below the number of ranks",
        .fix = "correct the binding"});
}

/// `rows` = "0,5,9": this rank has rows 5 to 8 when its coordinate along `rows_axis` is 1. An operand with all rows is
/// cut; one with fewer is a part already, perhaps with padding behind it.
TensorRef Operands::own_rows(TensorRef const& t) const {
  if (!attributes().has("rows")) return t;
  auto const& bounds = attributes().string("rows");
  auto const at = static_cast<std::size_t>(coordinate(attributes().string("rows_axis")));
  std::vector<std::int64_t> rows;
  bool sound = true;
  for (auto const& word : split(bounds, ',')) {
    auto& n = rows.emplace_back(-1);
    auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
    sound &= error == std::errc{} && end == word.data() + word.size() && n >= (rows.size() < 2 ? 0 : rows.end()[-2]);
  }
  auto const& shape = t.spec.shape;
  auto const width = shape.ndim() < 2 ? 1 : shape.back();
  auto const found = width == 0 ? 0 : t.spec.count() / width;
  if (sound && at + 1 < rows.size() && rows.front() == 0) {
    auto const count = rows[at + 1] - rows[at], first = found == rows.back() ? rows[at] : 0;
    if (first + count <= found && found <= rows.back()) {
      auto const bytes = first * width * sizeof_dtype(t.spec.dtype);
      return {t.as<char>() + bytes, {t.spec.dtype, {count * width}}};
    }
  }
  fail({.code = "runtime.bind.rows",
        .subject = where_,
        .found = text("rows = \"", bounds, "\" for ", t.spec, " at coordinate ", at),
        .expected =
            "a row number from 0 on before every part and the number of all rows at the end; operands of all rows, "
            "or of those of this part",
        .fix = "correct the attribute 'rows' of the step"});
}

TensorRef Operands::rows_of(TensorRef const& matrix) const {
  if (matrix.spec.shape.ndim() != 2 || matrix.spec.shape[1] == 0) return matrix;  // the kernel refuses it
  auto rows = own_rows(matrix);
  auto const width = matrix.spec.shape[1];
  rows.spec.shape = {rows.spec.count() / width, width};
  return rows;
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
