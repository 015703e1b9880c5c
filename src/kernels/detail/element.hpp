#pragma once

// Element access by dtype for the plain references: slow and obvious.
#include <bit>
#include <cmath>
#include <cstdint>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels::detail {

inline double get(TensorRef const& t, std::int64_t i) {
  switch (t.spec.dtype) {
    case DType::f32:
      return t.as<float>()[i];
    case DType::f64:
      return t.as<double>()[i];
    case DType::i32:
      return t.as<std::int32_t>()[i];
    case DType::bf16:
      return std::bit_cast<float>(std::uint32_t{t.as<std::uint16_t>()[i]} << 16);
    default:
      break;
  }
  fail({.code = "kernels.reference.dtype",
        .subject = "reference kernel",
        .found = text(t.spec),
        .expected = "f32, bf16, f64 or i32",
        .fix = "cast it first"});
}

inline void put(TensorRef const& t, std::int64_t i, double value) {
  switch (t.spec.dtype) {
    case DType::f32:
      t.as<float>()[i] = static_cast<float>(value);
      return;
    case DType::f64:
      t.as<double>()[i] = value;
      return;
    case DType::i32:
      t.as<std::int32_t>()[i] = static_cast<std::int32_t>(value);
      return;
    case DType::i64:
      t.as<std::int64_t>()[i] = static_cast<std::int64_t>(value);
      return;
    case DType::bf16: {  // round to nearest, ties to even
      auto const f = static_cast<float>(value);
      auto u = std::bit_cast<std::uint32_t>(f);
      u = std::isnan(f) ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
      t.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(u);
      return;
    }
    default:
      break;
  }
  fail({.code = "kernels.reference.dtype",
        .subject = "reference kernel",
        .found = text(t.spec),
        .expected = "f32, bf16, f64, i32 or i64",
        .fix = "cast it first"});
}

/// Adds when bit `output` of `accumulate` is set, else overwrites.
inline void put_or_add(TensorRef const& t, std::int64_t i, double value, int accumulate, int output) {
  put(t, i, ((accumulate >> output) & 1) ? get(t, i) + value : value);
}

/// Rows and columns of a tensor whose last dim is `columns`.
inline std::int64_t rows_of(TensorRef const& t) { return t.spec.shape.count(0, t.spec.shape.ndim() - 1); }

}  // namespace lamina::kernels::detail
