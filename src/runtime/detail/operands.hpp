#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/device/stream.hpp"
#include "lamina/kernels/fixed_point.hpp"
#include "lamina/program/program.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::runtime::detail {

/// A kernel with its arguments filled in: calling it does nothing but the work.
struct Kernel {
  void (*run)(device::Stream& stream, void const* args) = nullptr;
  std::shared_ptr<void const> args;

  void operator()(device::Stream& stream) const { run(stream, args.get()); }
};

/// The operands of a step, handed out in the order of the op's row in src/graph/README.md.
class Operands {
 public:
  /// `in`, `out`: the step's buffers as memory. `set`: the rank's own, for attributes that all ranks share and that
  /// mean something else on each. `where` names the step in errors. `reference`: plain loops instead of the fast
  /// kernels.
  Operands(program::ProgramSet const& set, program::Step const& step, std::vector<TensorRef> in,
           std::vector<TensorRef> out, bool has_scratch, bool reference, std::string where);

  TensorRef in() { return next(in_, next_in_, "inputs"); }
  TensorRef out() { return next(out_, next_out_, "outputs"); }
  TensorRef in_if(bool there) { return there ? in() : TensorRef{}; }
  TensorRef out_if(bool there) { return there ? out() : TensorRef{}; }
  /// An input that only one holder uses (a bias): absent on the others, by the attribute `holder`.
  TensorRef in_of_holder(bool there) {
    auto const t = in_if(there);
    return is_holder() ? t : TensorRef{};
  }
  /// The same, of which only the rows in the attribute `rows` are worked on, flattened: [rows * last dim].
  TensorRef in_rows() { return own_rows(in()); }
  TensorRef out_rows() { return own_rows(out()); }
  /// An output that is the same memory as input `input`. @throws Error "runtime.bind.in_place" when it is not.
  TensorRef out_over(TensorRef const& input);
  TensorRef out_rows_over(TensorRef const& input);
  std::vector<TensorRef> all_in_rows();
  /// Of a matrix that was handed out: the rows in the attribute `rows`, as a matrix.
  TensorRef rows_of(TensorRef const& matrix) const;
  /// The step's last output where its role is scratch; not among the outputs above.
  TensorRef scratch() const { return scratch_; }

  Attributes const& attributes() const { return step_.attributes; }
  bool flag(std::string_view name) const { return attributes().integer(name, 0) != 0; }
  int accumulate() const { return static_cast<int>(attributes().integer("accumulate", 0)); }
  DType dtype(std::string_view name) const;
  bool reference() const { return reference_; }
  std::string const& where() const { return where_; }

  /// Attribute `holder`, a comma list of mesh axes: this rank's coordinates along all of them are 0.
  bool is_holder() const;
  /// Attributes `split_axis` and `split_dim`: dim `dim` of the op's principal tensor is cut over a mesh axis in equal
  /// parts, and this rank has the one at its coordinate. No axis: it is whole.
  struct Cut {
    bool there = false;
    int dim = 0;
    int coordinate = 0, parts = 1;
  };
  Cut cut() const;

  /// A kernel out of its two versions.
  template <auto fast, auto plain, class Args>
  Kernel kernel(Args args) const {
    auto const held = std::make_shared<Args const>(std::move(args));
    if (reference_) return {[](device::Stream&, void const* a) { plain(*static_cast<Args const*>(a)); }, held};
    return {[](device::Stream& s, void const* a) { fast(s, *static_cast<Args const*>(a)); }, held};
  }

  /// Of three: the last one where attribute `fraction` asks for exact sums, whatever `reference` says.
  template <auto fast, auto plain, auto exact, class Args>
  Kernel kernel(Args args) const {
    if (!attributes().has("fraction")) return kernel<fast, plain>(std::move(args));
    return always<exact>(kernels::Exact<Args>{std::move(args), fixed_point(), fixed_point("logits_")});
  }
  /// A kernel that has one version.
  template <auto run, class Args>
  static Kernel always(Args args) {
    auto const held = std::make_shared<Args const>(std::move(args));
    return {[](device::Stream& s, void const* a) { run(s, *static_cast<Args const*>(a)); }, held};
  }
  kernels::FixedPoint fixed_point(std::string const& prefix = "") const {
    return {static_cast<int>(attributes().integer(prefix + "fraction", 0)), attributes().real(prefix + "limit", 0.0)};
  }

  /// @throws Error "runtime.bind.operands" when operands are left over.
  void finish() const;

 private:
  TensorRef next(std::vector<TensorRef> const& list, std::size_t& at, char const* what);
  TensorRef own_rows(TensorRef const& whole_or_part) const;
  TensorRef require_same(TensorRef const& output, TensorRef const& input) const;
  int coordinate(std::string_view axis) const;
  int ranks_along(std::string_view axis) const;
  [[noreturn]] void fail_operands(std::string found) const;

  program::ProgramSet const& set_;
  program::Step const& step_;
  std::vector<TensorRef> in_, out_;
  TensorRef scratch_;
  bool reference_;
  std::string where_;
  std::size_t next_in_ = 0, next_out_ = 0;
};

/// One row of the table of kernels.
struct Binder {
  std::string_view op;
  Kernel (*bind)(Operands& operands);
};

/// The ops that have a row.
std::vector<std::string> bound_ops();

/// @throws Error "runtime.bind.op" for a kind that no kernel has, with the closest one that there is.
Kernel bind_kernel(std::string_view op, Operands& operands);

}  // namespace lamina::runtime::detail
