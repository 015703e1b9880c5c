#include "detail/check.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels::detail {

void Check::dtype(std::string_view operand, TensorRef const& t, std::initializer_list<DType> allowed) const {
  if (std::find(allowed.begin(), allowed.end(), t.spec.dtype) != allowed.end()) return;
  fail({.code = text("kernels.", op, ".dtype"),
        .subject = text(op, ": ", operand),
        .found = text(t.spec),
        .expected = join(allowed, " or "),
        .fix = "cast it first, or correct the op's infer()"});
}

void Check::shape(std::string_view operand, TensorRef const& t, Shape const& expected) const {
  if (t.spec.shape == expected) return present(operand, t);
  fail({.code = text("kernels.", op, ".shape"),
        .subject = text(op, ": ", operand),
        .found = text(t.spec),
        .expected = text("shape ", expected),
        .fix = "the step's buffers do not fit its op: see the table of ops in src/graph/README.md"});
}

void Check::count(std::string_view operand, TensorRef const& t, std::int64_t expected) const {
  if (t.spec.count() == expected) return present(operand, t);
  fail({.code = text("kernels.", op, ".shape"),
        .subject = text(op, ": ", operand),
        .found = text(t.spec, ": ", t.spec.count(), " elements"),
        .expected = text(expected, " elements"),
        .fix = "the step's buffers do not fit its op: see the table of ops in src/graph/README.md"});
}

void Check::ndim(std::string_view operand, TensorRef const& t, int at_least) const {
  if (t.spec.shape.ndim() >= at_least) return present(operand, t);
  fail({.code = text("kernels.", op, ".shape"),
        .subject = text(op, ": ", operand),
        .found = text(t.spec),
        .expected = text("at least ", at_least, " dims"),
        .fix = "the step's buffers do not fit its op: see the table of ops in src/graph/README.md"});
}

void Check::present(std::string_view operand, TensorRef const& t) const {
  if (t || t.spec.count() == 0) return;
  fail({.code = text("kernels.", op, ".shape"),
        .subject = text(op, ": ", operand),
        .found = text(t.spec, " without memory"),
        .expected = "memory of that shape",
        .fix = "bind the operand to a buffer"});
}

void Check::scratch(TensorRef const& t, std::int64_t bytes) const {
  auto const found = t ? t.spec.bytes() : 0;
  if (found >= bytes) return;
  fail({.code = text("kernels.", op, ".scratch"),
        .subject = text(op, ": scratch"),
        .found = text(found, " bytes"),
        .expected = text("at least ", bytes, " bytes"),
        .fix = "plan for the number of threads that the runtime was made with"});
}

void Check::probability(double p) const {
  if (p >= 0 && p < 1) return;
  fail({.code = text("kernels.", op, ".p"),
        .subject = text(op, ": dropout probability"),
        .found = text(p),
        .expected = "0 <= p < 1",
        .fix = "set model.dropout to a value below 1"});
}

}  // namespace lamina::kernels::detail
