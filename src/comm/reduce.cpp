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

// A block of sums of more than two parts stays in the first-level cache while the parts stream by.
constexpr std::int64_t block = 1024;

/// `join` two wide values, `finish` what is stored. `to` may be a part: an element is read before it is written.
template <class T, class Join, class Finish>
void combine_as(T* to, std::span<void const* const> parts, std::int64_t count, Join join, Finish finish) {
  using W = typename Wide<T>::Type;
  auto const part = [&](std::size_t p) { return static_cast<T const*>(parts[p]); };
  auto const* const first = part(0);
  if (parts.size() == 1) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = finish(widen(first[i]));
    return;
  }
  if (parts.size() == 2) {
    auto const* const second = part(1);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) to[i] = finish(join(widen(first[i]), widen(second[i])));
    return;
  }
  auto const last = parts.size() - 1;
  W sums[block];
  for (std::int64_t at = 0; at < count; at += block) {
    auto const n = std::min(block, count - at);
    for (std::int64_t i = 0; i < n; ++i) sums[i] = join(widen(first[at + i]), widen(part(1)[at + i]));
    for (std::size_t p = 2; p < last; ++p) {
      auto const* const next = part(p) + at;
      for (std::int64_t i = 0; i < n; ++i) sums[i] = join(sums[i], widen(next[i]));
    }
    auto const* const end = part(last) + at;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) to[at + i] = finish(join(sums[i], widen(end[i])));
  }
}

template <class T>
void combine_op(Reduce op, void* to_v, std::span<void const* const> parts, std::int64_t count) {
  using W = typename Wide<T>::Type;
  auto* const to = static_cast<T*>(to_v);
  auto const add = [](W a, W b) { return a + b; };
  auto const store = [](W x) { return narrow<T>(x); };
  switch (op) {
    case Reduce::max:
      return combine_as(
          to, parts, count, [](W a, W b) { return larger(a, b); }, store);
    case Reduce::mean:
      return combine_as(to, parts, count, add,
                        [n = static_cast<W>(parts.size())](W x) { return narrow<T>(static_cast<W>(x / n)); });
    case Reduce::sum:
      return combine_as(to, parts, count, add, store);
  }
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
