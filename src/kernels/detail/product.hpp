#pragma once

// Matrix products for all kernels: which implementation computes them is decided here and nowhere else.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels::detail {

/// Row-major with `ld` elements between rows as stored.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::f32;  ///< f32 or bf16; u8: made by `pack` (b only)
  std::int64_t ld = 0;
  bool transposed = false;  ///< stored the other way round: a as [k,m], b as [n,k]
};

/// c[m,n] = a[m,k] b[k,n] (+ bias[n]) (+ c), sums in f32; then activated[m,n] = activation(c as stored).
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
  Matrix a, b, c;  ///< a and b of one type, or b packed for it; c f32 or bf16, never transposed
  float const* bias = nullptr;
  bool accumulate = false;    ///< c must be f32
  void* activated = nullptr;  ///< like c, with c's ld; null: no activation
  Activation activation = Activation::gelu;
};

/// Memory that is handed out front to back, in pieces on 64-byte boundaries.
class Scratch {
 public:
  Scratch(void* data, std::int64_t bytes) : data_(static_cast<std::byte*>(data)), bytes_(bytes) {}
  explicit Scratch(TensorRef const& t) : Scratch(t.data, t.data == nullptr ? 0 : t.spec.bytes()) {}

  /// Null when no `bytes` are left.
  void* take(std::int64_t bytes) {
    auto const size = (bytes + 63) / 64 * 64;
    if (size > bytes_) return nullptr;
    auto* const p = data_;
    data_ += size, bytes_ -= size;
    return p;
  }
  std::int64_t left() const { return bytes_; }

 private:
  std::byte* data_;
  std::int64_t bytes_;
};

/// Computes it on `threads()` threads. Every element of c is summed in an order that depends on the shape only (our
/// own product), or on the shape and the number of threads (oneDNN). `op` is for error messages.
/// @throws Error "kernels.<op>.scratch".
void multiply(std::string_view op, Product const& p, Scratch scratch);

/// True when products of this type are oneDNN's: where it has instructions that our own product has not.
bool uses_library(DType t);

/// Overrules that choice while it lives, where there is an oneDNN: for tests and for measuring one against the other.
class LibraryChoice {
 public:
  explicit LibraryChoice(bool library);
  ~LibraryChoice();
  LibraryChoice(LibraryChoice const&) = delete;
  LibraryChoice& operator=(LibraryChoice const&) = delete;
};

/// Fills `packed` with b[k,n] as `multiply` wants it for Matrix{packed, u8}. `from` is f32 or bf16, `t` the product's.
/// @throws Error "kernels.pack_weight.fit", "kernels.pack_weight.scratch".
void pack(Matrix const& from, std::int64_t k, std::int64_t n, DType t, TensorRef const& packed, Scratch scratch);

/// to = from with another type, element by element.
void convert(void const* from, DType from_type, void* to, DType to_type, std::int64_t count);

}  // namespace lamina::kernels::detail
