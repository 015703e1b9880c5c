#include "graph/detail/check.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::graph::detail {

Inputs::Inputs(std::string_view kind, std::span<TensorSpec const> in, std::initializer_list<std::string_view> names)
    : kind_(kind), in_(in) {
  std::copy_if(names.begin(), names.end(), std::back_inserter(names_), [](auto name) { return !name.empty(); });
  if (in.size() == names_.size()) return;
  fail({.code = text("graph.", kind, ".operands"),
        .subject = text(kind, ": wrong number of inputs"),
        .found = text(in.size()),
        .expected = text(names_.size(), ": ", join(names_)),
        .fix = "pass exactly these; optional ones follow the op's attributes"});
}

Inputs const& Inputs::dtype(int i, std::initializer_list<DType> allowed) const {
  auto const found = (*this)[i].dtype;
  if (std::find(allowed.begin(), allowed.end(), found) != allowed.end()) return *this;
  fail({.code = text("graph.", kind_, ".dtype"),
        .subject = text(kind_, ": element type of ", names_[static_cast<std::size_t>(i)]),
        .found = text((*this)[i]),
        .expected = join(allowed, " or "),
        .fix = "put a cast in front, or build the op with the dtype that its input has"});
}

void Inputs::fail_shape(int i, std::string_view expected) const {
  fail({.code = text("graph.", kind_, ".shape"),
        .subject = text(kind_, ": shape of ", names_[static_cast<std::size_t>(i)]),
        .found = text((*this)[i]),
        .expected = std::string(expected),
        .fix = "compare the sizes of the layer with those of the layer before it"});
}

Inputs const& Inputs::ndim(int i, int exactly) const {
  if ((*this)[i].shape.ndim() == exactly) return *this;
  fail({.code = text("graph.", kind_, ".ndim"),
        .subject = text(kind_, ": number of dims of ", names_[static_cast<std::size_t>(i)]),
        .found = text((*this)[i]),
        .expected = text(exactly, " dims"),
        .fix = "see the op's docstring for the shapes it takes"});
}

Inputs const& Inputs::ndim_at_least(int i, int least) const {
  if ((*this)[i].shape.ndim() >= least) return *this;
  fail({.code = text("graph.", kind_, ".ndim"),
        .subject = text(kind_, ": number of dims of ", names_[static_cast<std::size_t>(i)]),
        .found = text((*this)[i]),
        .expected = text("at least ", least, " dims"),
        .fix = "see the op's docstring for the shapes it takes"});
}

Inputs const& Inputs::shape(int i, Shape const& expected, std::string_view why) const {
  if (!((*this)[i].shape == expected)) fail_shape(i, text(expected, ", ", why));
  return *this;
}

Inputs const& Inputs::extent(int i, int dim, std::int64_t expected, std::string_view why) const {
  if ((*this)[i].shape[dim] != expected) fail_shape(i, text(expected, " in dim ", dim, ", ", why));
  return *this;
}

void require_attribute(std::string_view kind, bool ok, std::string_view name, double value, std::string_view expected) {
  if (ok) return;
  fail({.code = text("graph.", kind, ".attribute"),
        .subject = text(kind, ": attribute '", name, "'"),
        .found = exact(value),
        .expected = std::string(expected),
        .fix = "mend the value where the model is built"});
}

Shape slice(Shape const& s, int first, int last) {
  Shape out;
  for (int d = first; d < last; ++d) out.push_back(s[d]);
  return out;
}

Shape without_last(Shape const& s, int dims) { return slice(s, 0, s.ndim() - dims); }

Shape concat(Shape const& a, Shape const& b) {
  Shape out = a;
  for (int d = 0; d < b.ndim(); ++d) out.push_back(b[d]);
  return out;
}

std::int64_t traffic(std::span<TensorSpec const> in, std::span<TensorSpec const> out) {
  std::int64_t bytes = 0;
  for (auto const& t : in) bytes += t.bytes();
  for (auto const& t : out) bytes += t.bytes();
  return bytes;
}

Cost cost_of(Op const& op, std::span<TensorSpec const> in, std::int64_t flops) {
  return {.flops = flops, .bytes = traffic(in, op.infer(in))};
}

std::int64_t library_bytes(int threads) { return ((std::int64_t{threads} << 1) + 1) << 20; }

}  // namespace lamina::graph::detail
