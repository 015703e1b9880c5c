#include "detail/reduce.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lamina::comm::detail {
namespace {

struct Bf16 {
  std::uint16_t bits;
};

template <class T>
struct Wide {
  using Type = T;
};
template <>
struct Wide<Bf16> {
  using Type = float;
};

template <class T>
typename Wide<T>::Type widen(T x) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
  } else {
    return x;
  }
}

template <class T>
T narrow(typename Wide<T>::Type x) {
  if constexpr (std::is_same_v<T, Bf16>) {
    auto const bits = std::bit_cast<std::uint32_t>(x);
    if (x != x) return {static_cast<std::uint16_t>((bits >> 16) | 0x40)};  // stays a NaN when cut
    return {static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
  } else {
    return x;
  }
}

template <class T>
T larger(T a, T b) {
  return b > a || b != b ? b : a;
}

// A block of sums stays in the first-level cache while the parts stream by.
constexpr std::int64_t block = 1024;

template <class T, bool is_max>
void combine_as(void* to_v, std::span<void const* const> parts, std::int64_t count, int divisor) {
  using W = typename Wide<T>::Type;
  auto* const to = static_cast<T*>(to_v);
  W sums[block];
  for (std::int64_t first = 0; first < count; first += block) {
    auto const n = std::min(block, count - first);
    auto const* part = static_cast<T const*>(parts[0]) + first;
    for (std::int64_t i = 0; i < n; ++i) sums[i] = widen(part[i]);
    for (std::size_t p = 1; p < parts.size(); ++p) {
      part = static_cast<T const*>(parts[p]) + first;
      for (std::int64_t i = 0; i < n; ++i) {
        if constexpr (is_max) {
          sums[i] = larger(sums[i], widen(part[i]));
        } else {
          sums[i] += widen(part[i]);
        }
      }
    }
    if (divisor != 1) {
      for (std::int64_t i = 0; i < n; ++i) sums[i] /= static_cast<W>(divisor);
    }
    for (std::int64_t i = 0; i < n; ++i) to[first + i] = narrow<T>(sums[i]);
  }
}

template <class T>
void combine_op(Reduce op, void* to, std::span<void const* const> parts, std::int64_t count) {
  if (op == Reduce::max) return combine_as<T, true>(to, parts, count, 1);
  combine_as<T, false>(to, parts, count, op == Reduce::mean ? static_cast<int>(parts.size()) : 1);
}

}  // namespace

bool can_combine(DType dtype, Reduce op) {
  switch (dtype) {
    case DType::f32:
    case DType::bf16:
    case DType::f64:
      return true;
    case DType::i64:
      return op != Reduce::mean;
    default:
      return false;
  }
}

void combine(DType dtype, Reduce op, void* to, std::span<void const* const> parts, std::int64_t count) {
  switch (dtype) {
    case DType::f32:
      return combine_op<float>(op, to, parts, count);
    case DType::bf16:
      return combine_op<Bf16>(op, to, parts, count);
    case DType::f64:
      return combine_op<double>(op, to, parts, count);
    case DType::i64:
      return combine_op<std::int64_t>(op, to, parts, count);
    default:
      return;  // `can_combine` said no
  }
}

}  // namespace lamina::comm::detail
