#include "detail/product.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "detail/blocked_product.hpp"
#include "detail/check.hpp"
#include "detail/elementwise.hpp"
#include "detail/finish.hpp"
#include "detail/parallel.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "vendor/onednn/onednn.hpp"

namespace lamina::kernels::detail {
namespace {

namespace onednn = vendor::onednn;

std::optional<bool> choice;  // see LibraryChoice

/// Prepared primitives by shape and thread count: made at the first use, looked up without allocating. Kernels are
/// called by one thread.
template <class Shape, class Primitive>
class Cache {
 public:
  Primitive& get(Shape const& shape) {
    for (auto& [key, primitive] : entries_) {
      if (key.first == shape && key.second == threads()) return *primitive;
    }
    auto& entry = entries_.emplace_back(std::pair{shape, threads()}, std::make_unique<Primitive>(shape));
    return *entry.second;
  }

 private:
  std::vector<std::pair<std::pair<Shape, int>, std::unique_ptr<Primitive>>> entries_;
};

void* take(std::string_view op, Scratch& scratch, std::int64_t bytes) {
  auto* const p = scratch.take(bytes);
  if (p != nullptr || bytes == 0) return p;
  fail({.code = text("kernels.", op, ".scratch"),
        .subject = text(op, ": scratch"),
        .found = text(scratch.left(), " bytes left"),
        .expected = text("at least ", bytes, " bytes"),
        .fix = "plan the scratch that the op asks for"});
}

template <class T>
void activate(Product const& p) {
  static std::string const label = "lamina::kernels::activate";
  for_each_range(label, p.m, 1, [&](std::int64_t begin, std::int64_t end) {
    auto const* const c = static_cast<T const*>(p.c.data);
    auto* const y = static_cast<T*>(p.activated);
    for (auto row = begin; row < end; ++row) {
      for_vectors(0, p.n, [&](std::int64_t column, auto count) {
        auto const v = load(c + row * p.c.ld + column, count);
        store(y + row * p.c.ld + column, p.activation == Activation::gelu ? gelu(v) : v > 0.f ? v : Floats{}, count);
      });
    }
  });
}

void library_multiply(std::string_view op, Product const& p, Scratch scratch) {
  static Cache<onednn::MatMulShape, onednn::MatMul> cache;
  bool const packed = p.b.dtype == DType::u8;
  auto& primitive = cache.get({.m = p.m,
                               .n = p.n,
                               .k = p.k,
                               .lda = p.a.ld,
                               .ldb = packed ? 0 : p.b.ld,
                               .ldc = p.c.ld,
                               .a = p.a.dtype,
                               .b = p.a.dtype,
                               .c = p.c.dtype,
                               .transposed_a = p.a.transposed,
                               .transposed_b = !packed && p.b.transposed,
                               .packed_b = packed,
                               .bias = p.bias != nullptr,
                               .accumulate = p.accumulate});
  primitive.run(p.a.data, p.b.data, p.c.data, p.bias, take(op, scratch, primitive.scratch_bytes()));
  if (p.activated != nullptr) p.c.dtype == DType::f32 ? activate<float>(p) : activate<Bf16>(p);
}

}  // namespace

bool uses_library(DType t) {
  if (!onednn::available() || choice) return onednn::available() && *choice;
  return lanes < 16 || (t == DType::bf16 && onednn::has_bf16_tiles());
}

LibraryChoice::LibraryChoice(bool library) { choice = library; }
LibraryChoice::~LibraryChoice() { choice.reset(); }

void multiply(std::string_view op, Product const& p, Scratch scratch) {
  if (p.m == 0 || p.n == 0) return;
  if (uses_library(p.a.dtype)) return library_multiply(op, p, scratch);
  if (p.b.dtype != DType::u8) return blocked_multiply(op, p, scratch);
  Product plain = p;  // see `pack`
  plain.b = {.data = p.b.data, .dtype = p.a.dtype, .ld = p.b.ld, .transposed = p.b.transposed};
  blocked_multiply(op, plain, scratch);
}

void pack(Matrix const& from, std::int64_t k, std::int64_t n, DType t, TensorRef const& packed, Scratch scratch) {
  static Cache<onednn::PackShape, onednn::Pack> cache;
  Check const check{"pack_weight"};
  if (!uses_library(t)) {  // our own product reads weights where they lie: a copy with the product's type
    auto const rows = from.transposed ? n : k, columns = from.transposed ? k : n;
    if (packed.spec.bytes() < rows * columns * sizeof_dtype(t) || from.ld != columns) {
      check.count("packed", packed, rows * columns * sizeof_dtype(t));
    }
    return convert(from.data, from.dtype, packed.data, t, rows * columns);
  }
  auto& primitive =
      cache.get({.k = k, .n = n, .ld = from.ld, .transposed = from.transposed, .from = from.dtype, .to = t});
  if (primitive.packed_bytes() > packed.spec.bytes()) {
    fail({.code = "kernels.pack_weight.fit",
          .subject = text("pack_weight: [", k, ", ", n, "] for ", t, " products"),
          .found = text("oneDNN ", onednn::version(), " wants ", primitive.packed_bytes(), " bytes"),
          .expected = text("at most the planned ", packed.spec.bytes()),
          .fix = "report it with this message: packed_weight_bytes() must grow"});
  }
  primitive.run(from.data, packed.data, take("pack_weight", scratch, primitive.scratch_bytes()));
}

void convert(void const* from, DType from_type, void* to, DType to_type, std::int64_t count) {
  static std::string const label = "lamina::kernels::convert";
  auto const copy = [&](auto const* x, auto* y) { map(label, count, x, y, [](Floats v) { return v; }); };
  auto const choose = [&](auto const* x) {
    to_type == DType::f32 ? copy(x, static_cast<float*>(to)) : copy(x, static_cast<Bf16*>(to));
  };
  from_type == DType::f32 ? choose(static_cast<float const*>(from)) : choose(static_cast<Bf16 const*>(from));
}

}  // namespace lamina::kernels::detail
