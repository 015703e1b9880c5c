#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lamina/tensor/tensor.hpp"

/// What Lamina wants of oneDNN: matrix products and the weight layouts they like. Versions 2.6 and 3.x. The library
/// uses the OpenMP threads of the caller; a primitive made with one thread count must be run with the same.
namespace lamina::vendor::onednn {

bool available();
std::string version();  ///< "2.6.3"; "none" without oneDNN
/// bf16 products run on matrix tiles (AMX), many times faster than f32.
bool has_bf16_tiles();

/// c[m,n] = a[m,k] b[k,n] (+ bias[n]) (+ c): row-major with leading dimensions, sums in f32.
struct MatMulShape {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldc = 0;  ///< elements between rows as stored; ldb is ignored if packed_b
  DType a = DType::f32, b = DType::f32, c = DType::f32;  ///< f32 f32 f32, or bf16 bf16 with c either
  bool transposed_a = false, transposed_b = false;       ///< stored as [k,m], [n,k]
  bool packed_b = false;                                 ///< b is what `Pack` made
  bool bias = false;                                     ///< f32 [n]
  bool accumulate = false;                               ///< add to c
  friend bool operator==(MatMulShape const&, MatMulShape const&) = default;
};

/// A prepared product. Making one takes milliseconds and allocates; running it computes (the library itself makes a
/// few allocations of some bytes for its argument table, none that grows with the shape).
class MatMul {
 public:
  /// @throws Error "vendor.onednn.call" when the library refuses.
  explicit MatMul(MatMulShape const& shape);
  ~MatMul();
  MatMul(MatMul&&) noexcept;
  MatMul& operator=(MatMul&&) noexcept;

  std::int64_t scratch_bytes() const;  ///< what `run` needs, 64-byte aligned
  void run(void const* a, void const* b, void* c, void const* bias, void* scratch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Copies b[k,n] into the library's layout for `MatMulShape::packed_b`: depends on k, n and the type only.
struct PackShape {
  std::int64_t k = 0, n = 0;
  std::int64_t ld = 0;      ///< elements between rows of the source as stored
  bool transposed = false;  ///< the source is stored as [n,k]
  DType from = DType::f32, to = DType::f32;
  friend bool operator==(PackShape const&, PackShape const&) = default;
};

class Pack {
 public:
  explicit Pack(PackShape const& shape);
  ~Pack();
  Pack(Pack&&) noexcept;
  Pack& operator=(Pack&&) noexcept;

  std::int64_t packed_bytes() const;
  std::int64_t scratch_bytes() const;
  void run(void const* from, void* to, void* scratch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lamina::vendor::onednn
