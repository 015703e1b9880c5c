#pragma once

// y[i] = f(x[i] ...) over flat arrays of f32 or bf16.
#include "check.hpp"
#include "parallel.hpp"
#include "simd.hpp"

namespace lamina::kernels::detail {

/// Elements that are worth a thread; a multiple of a cache line of either dtype.
inline constexpr std::int64_t element_grain = 8192;

template <class X, class Y, class F>
void map(std::string const& label, std::int64_t count, X const* x, Y* y, F const& f) {
  for_each_range(label, count, element_grain, [&](std::int64_t begin, std::int64_t end) {
    for_vectors(begin, end, [&](std::int64_t i, auto part) { store(y + i, f(load(x + i, part)), part); });
  });
}

template <class A, class B, class Y, class F>
void map(std::string const& label, std::int64_t count, A const* a, B const* b, Y* y, F const& f) {
  for_each_range(label, count, element_grain, [&](std::int64_t begin, std::int64_t end) {
    for_vectors(begin, end,
                [&](std::int64_t i, auto part) { store(y + i, f(load(a + i, part), load(b + i, part)), part); });
  });
}

/// An activation's operands: `more` are like the first in shape and dtype.
inline void check_alike(Check const& check, std::string_view name, TensorRef const& first,
                        std::initializer_list<std::pair<std::string_view, TensorRef const*>> more) {
  check.dtype(name, first, {DType::f32, DType::bf16});
  check.present(name, first);
  for (auto const& [other, t] : more) {
    check.dtype(other, *t, {first.spec.dtype});
    check.shape(other, *t, first.spec.shape);
  }
}

}  // namespace lamina::kernels::detail
