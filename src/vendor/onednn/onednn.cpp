#include "onednn.hpp"

#include <array>
#include <dnnl.hpp>
#include <source_location>
#include <unordered_map>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::vendor::onednn {
namespace {

using Desc = dnnl::memory::desc;

/// Calls into the library; its exceptions become ours.
template <class F>
auto call(char const* what, F&& f, std::source_location at = std::source_location::current()) {
  try {
    return f();
  } catch (dnnl::error const& e) {
    fail({.code = "vendor.onednn.call",
          .subject = what,
          .found = text(e.what(), " (status ", static_cast<int>(e.status), ")"),
          .expected = "success",
          .fix = "rerun with DNNL_VERBOSE=1; configure with LAMINA_WITH_ONEDNN=OFF to do without oneDNN"},
         at);
  }
}

dnnl::engine& engine() {
  static dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

dnnl::stream& stream() {
  static dnnl::stream s(engine());
  return s;
}

dnnl::memory::data_type type(DType t) {
  return t == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

/// A matrix [rows, columns], stored row-major, or transposed with `ld` elements between columns.
Desc matrix(std::int64_t rows, std::int64_t columns, DType t, std::int64_t ld, bool transposed) {
  return {{rows, columns}, type(t), transposed ? dnnl::memory::dims{1, ld} : dnnl::memory::dims{ld, 1}};
}

dnnl::matmul::primitive_desc make_matmul(Desc const& a, Desc const& b, Desc const& c, Desc const* bias,
                                         bool accumulate) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attr.set_fpmath_mode(dnnl::fpmath_mode::strict);  // f32 stays f32, whatever the environment says
  if (accumulate) {
    dnnl::post_ops add;
    add.append_sum(1.0f);
    attr.set_post_ops(add);
  }
#if DNNL_VERSION_MAJOR >= 3
  return bias != nullptr ? dnnl::matmul::primitive_desc(engine(), a, b, *bias, c, attr)
                         : dnnl::matmul::primitive_desc(engine(), a, b, c, attr);
#else
  return bias != nullptr ? dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, *bias, c), attr, engine())
                         : dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attr, engine());
#endif
}

/// The layout the library picks for b[k,n] in a product of a typical number of rows. A function of k, n and the type,
/// so that one packed copy serves products of any number of rows.
Desc packed_layout(std::int64_t k, std::int64_t n, DType t) {
  constexpr std::int64_t typical_rows = 256;
  Desc const b({k, n}, type(t), dnnl::memory::format_tag::any);
  return make_matmul(matrix(typical_rows, k, t, k, false), b, matrix(typical_rows, n, DType::f32, n, false), nullptr,
                     false)
      .weights_desc();
}

/// dnnl::memory for a pointer that changes from call to call.
dnnl::memory unbound(Desc const& d) { return {d, engine(), nullptr}; }

std::int64_t bytes(Desc const& d) { return static_cast<std::int64_t>(d.get_size()); }

/// The C call: the C++ one builds a vector on every execution.
void execute(char const* what, dnnl::primitive const& p, dnnl_exec_arg_t const* args, int count) {
  auto const status = dnnl_primitive_execute(p.get(), stream().get(), count, args);
  if (status == dnnl_success) return;
  fail({.code = "vendor.onednn.call",
        .subject = what,
        .found = text("status ", static_cast<int>(status)),
        .expected = "dnnl_success",
        .fix = "rerun with DNNL_VERBOSE=1"});
}

}  // namespace

bool available() { return true; }

std::string version() {
  auto const* v = dnnl_version();
  return text(v->major, '.', v->minor, '.', v->patch);
}

bool has_bf16_tiles() {
  auto const isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  auto const tiles = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  return (isa & tiles) == tiles;
}

struct MatMul::Impl {
  dnnl::matmul::primitive_desc desc;
  dnnl::matmul primitive;
  dnnl::memory a, b, c, bias, scratch;
  std::array<dnnl_exec_arg_t, 5> args{};
  int count = 0;
  std::int64_t scratch_bytes = 0;  // kept: asking a primitive for a description allocates one

  void add(int id, dnnl::memory const& m) { args[static_cast<std::size_t>(count++)] = {id, m.get()}; }
};

MatMul::MatMul(MatMulShape const& s) : impl_(std::make_unique<Impl>()) {
  auto& i = *impl_;
  call("dnnl::matmul", [&] {
    auto const b = s.packed_b ? packed_layout(s.k, s.n, s.b) : matrix(s.k, s.n, s.b, s.ldb, s.transposed_b);
    auto const bias = matrix(1, s.n, DType::f32, s.n, false);
    i.desc = make_matmul(matrix(s.m, s.k, s.a, s.lda, s.transposed_a), b, matrix(s.m, s.n, s.c, s.ldc, false),
                         s.bias ? &bias : nullptr, s.accumulate);
    i.primitive = dnnl::matmul(i.desc);
    i.a = unbound(i.desc.src_desc());
    i.b = unbound(i.desc.weights_desc());
    i.c = unbound(i.desc.dst_desc());
    i.scratch = unbound(i.desc.scratchpad_desc());
    i.scratch_bytes = bytes(i.desc.scratchpad_desc());
    i.add(DNNL_ARG_SRC, i.a);
    i.add(DNNL_ARG_WEIGHTS, i.b);
    i.add(DNNL_ARG_DST, i.c);
    i.add(DNNL_ARG_SCRATCHPAD, i.scratch);
    if (s.bias) i.bias = unbound(bias), i.add(DNNL_ARG_BIAS, i.bias);
  });
}

MatMul::~MatMul() = default;
MatMul::MatMul(MatMul&&) noexcept = default;
MatMul& MatMul::operator=(MatMul&&) noexcept = default;

std::int64_t MatMul::scratch_bytes() const { return impl_->scratch_bytes; }

void MatMul::run(void const* a, void const* b, void* c, void const* bias, void* scratch) {
  auto& i = *impl_;
  i.a.set_data_handle(const_cast<void*>(a));
  i.b.set_data_handle(const_cast<void*>(b));
  i.c.set_data_handle(c);
  i.scratch.set_data_handle(scratch);
  if (i.bias) i.bias.set_data_handle(const_cast<void*>(bias));
  execute("matmul", i.primitive, i.args.data(), i.count);
}

struct Pack::Impl {
  dnnl::reorder::primitive_desc desc;
  dnnl::reorder primitive;
  dnnl::memory from, to, scratch;
  std::array<dnnl_exec_arg_t, 3> args{};
  std::int64_t packed_bytes = 0, scratch_bytes = 0;
};

Pack::Pack(PackShape const& s) : impl_(std::make_unique<Impl>()) {
  auto& i = *impl_;
  call("dnnl::reorder", [&] {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    i.desc = dnnl::reorder::primitive_desc(engine(), matrix(s.k, s.n, s.from, s.ld, s.transposed), engine(),
                                           packed_layout(s.k, s.n, s.to), attr);
    i.primitive = dnnl::reorder(i.desc);
    i.from = unbound(i.desc.src_desc());
    i.to = unbound(i.desc.dst_desc());
    i.scratch = unbound(i.desc.scratchpad_desc());
    i.packed_bytes = bytes(i.desc.dst_desc()), i.scratch_bytes = bytes(i.desc.scratchpad_desc());
    i.args = {{{DNNL_ARG_FROM, i.from.get()}, {DNNL_ARG_TO, i.to.get()}, {DNNL_ARG_SCRATCHPAD, i.scratch.get()}}};
  });
}

Pack::~Pack() = default;
Pack::Pack(Pack&&) noexcept = default;
Pack& Pack::operator=(Pack&&) noexcept = default;

std::int64_t Pack::packed_bytes() const { return impl_->packed_bytes; }
std::int64_t Pack::scratch_bytes() const { return impl_->scratch_bytes; }

void Pack::run(void const* from, void* to, void* scratch) {
  auto& i = *impl_;
  i.from.set_data_handle(const_cast<void*>(from));
  i.to.set_data_handle(to);
  i.scratch.set_data_handle(scratch);
  execute("reorder", i.primitive, i.args.data(), 3);
}

}  // namespace lamina::vendor::onednn
