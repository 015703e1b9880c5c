#pragma once

// From the sums of a block of a product to what is stored: bias, accumulation, transposition, activation, rounding.
#include <algorithm>

#include "gelu.hpp"
#include "product.hpp"
#include "transpose.hpp"

namespace lamina::kernels::detail {

/// A block of sums, f32, in a buffer: t[i * ld + j], i in [0, rows), j in [0, columns). Rows of `ld` floats are
/// readable up to a multiple of `lanes`, and so are rows up to a multiple of `lanes`.
struct Sums {
  float const* t = nullptr;
  std::int64_t ld = 0, rows = 0, columns = 0;
};

/// Stores vectors of c and, if wanted, of the activation.
template <class T>
struct Finish {
  T* c;
  T* activated;
  std::int64_t ld;
  float const* bias;
  bool accumulate;
  Activation activation;

  explicit Finish(Product const& p)
      : c(static_cast<T*>(p.c.data)),
        activated(static_cast<T*>(p.activated)),
        ld(p.c.ld),
        bias(p.bias),
        accumulate(p.accumulate),
        activation(p.activation) {}

  template <class Count>
  void operator()(std::int64_t row, std::int64_t column, Floats v, Count count) const {
    auto const at = row * ld + column;
    if (bias != nullptr) v += load(bias + column, count);
    if (accumulate) v += load(c + at, count);
    store(c + at, v, count);
    if (activated == nullptr) return;
    if constexpr (!std::is_same_v<T, float>) v = from_bf16(to_bf16(v));
    store(activated + at, activation == Activation::gelu ? gelu(v) : v > 0.f ? v : Floats{}, count);
  }
};

/// c[row + i][column + j] from t[i][j].
template <class T>
void finish_straight(Finish<T> const& f, Sums const& s, std::int64_t row, std::int64_t column) {
  for (std::int64_t i = 0; i < s.rows; ++i) {
    for_vectors(0, s.columns,
                [&](std::int64_t j, auto count) { f(row + i, column + j, load(s.t + i * s.ld + j), count); });
  }
}

/// c[row + j][column + i] from t[i][j], in squares of `lanes`.
template <class T>
void finish_transposed(Finish<T> const& f, Sums const& s, std::int64_t row, std::int64_t column) {
  for (std::int64_t j = 0; j < s.columns; j += lanes) {
    auto const rows = static_cast<int>(std::min<std::int64_t>(lanes, s.columns - j));
    for_vectors(0, s.rows, [&](std::int64_t i, auto count) {
      Floats v[lanes];
      for (int l = 0; l < lanes; ++l) v[l] = load(s.t + (i + l) * s.ld + j);
      transpose(v);
      for (int l = 0; l < rows; ++l) f(row + j + l, column + i, v[l], count);
    });
  }
}

}  // namespace lamina::kernels::detail
