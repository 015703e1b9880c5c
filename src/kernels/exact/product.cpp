// Products whose sums are exact: every term is rounded to a multiple of a power of two. The product of two f32 has at
// most 48 bits, so that rounding is the only one, and a fused multiply-add gives the same bits as two instructions.
#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <memory>

#include "../detail/element.hpp"
#include "../detail/exact.hpp"
#include "../detail/parallel.hpp"
#include "../detail/simd.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels::detail {
namespace {

constexpr int width = lanes / 2;  // doubles in a register
typedef double Doubles __attribute__((vector_size(8 * width)));
typedef std::int64_t Longs __attribute__((vector_size(8 * width)));

constexpr std::int64_t block = 32, depth = 256;  // a tile of c is block x block; `depth` terms of its rows at a time
constexpr int rows_at_once = 2, columns_at_once = 4;

/// Rows of terms side by side, `depth` apart; what is missing is 0, which adds nothing.
using Packed = std::array<double, static_cast<std::size_t>(block* depth)>;
struct Room {
  alignas(64) Packed a, b;
  alignas(64) std::array<double, static_cast<std::size_t>(block* block)> sums;
};

float as_bf16(float x) {
  auto u = std::bit_cast<std::uint32_t>(x);
  if (x != x) return x;
  u = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  return std::bit_cast<float>(u);
}

/// `value(element)` as a float.
template <class T, class Value>
double pack_as(Terms const& t, std::int64_t first, std::int64_t k, std::int64_t count, Packed& out,
               Value const& value) {
  auto const* const from = t.of.as<T>() + first * t.row_stride + k * t.k_stride;
  auto const rows = std::min(block, t.rows - first), padded = (count + width - 1) / width * width;
  std::uint32_t largest = 0;  // sizes compare like their bits, and NaN is the largest
  auto const put = [&](std::int64_t r, std::int64_t i) {
    float const x = value(from[r * t.row_stride + i * t.k_stride]);
    out[static_cast<std::size_t>(r * depth + i)] = x;
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
  };
  if (t.row_stride == 1) {
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t r = 0; r < rows; ++r) put(r, i);
    }
  } else {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < count; ++i) put(r, i);
    }
  }
  for (std::int64_t r = 0; r < block; ++r) {
    std::fill(out.begin() + r * depth + (r < rows ? count : 0), out.begin() + r * depth + padded, 0.0);
  }
  return std::bit_cast<float>(largest);
}

/// Terms [k, k + count) of rows [first, first + block). Returns the largest size, NaN when one is NaN.
double pack(Terms const& t, std::int64_t first, std::int64_t k, std::int64_t count, Packed& out) {
  if (t.of.spec.dtype == DType::bf16) return pack_as<Bf16>(t, first, k, count, out, [](Bf16 x) { return to_float(x); });
  if (t.to_bf16) return pack_as<float>(t, first, k, count, out, as_bf16);
  return pack_as<float>(t, first, k, count, out, [](float x) { return x; });
}

Doubles load(double const* p) {
  Doubles v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

Doubles size_of(Doubles v) {
  return reinterpret_cast<Doubles>(reinterpret_cast<Longs>(v) & std::numeric_limits<std::int64_t>::max());
}

/// sums[i, j] += products of rows i of a and j of b. Checked: returns the largest size of a term or of a lane's sum.
template <bool checked>
double multiply(Room& room, std::int64_t rows, std::int64_t columns, std::int64_t count, double magic) {
  auto const m = Doubles{} + magic;
  Doubles largest{};
  for (std::int64_t i = 0; i < rows; i += rows_at_once) {
    for (std::int64_t j = 0; j < columns; j += columns_at_once) {
      Doubles lane[rows_at_once][columns_at_once] = {};
      auto const *a = room.a.data() + i * depth, *b = room.b.data() + j * depth;
      for (std::int64_t k = 0; k < count; k += width) {
        for (int r = 0; r < rows_at_once; ++r) {
          auto const x = load(a + r * depth + k);
          for (int c = 0; c < columns_at_once; ++c) {
            auto const y = load(b + c * depth + k);
            lane[r][c] += (x * y + m) - m;
            if constexpr (checked) {
              auto const p = size_of(x * y), s = size_of(lane[r][c]);
              largest = p > largest ? p : largest;
              largest = s > largest ? s : largest;
            }
          }
        }
      }
      for (int r = 0; r < rows_at_once; ++r) {
        for (int c = 0; c < columns_at_once; ++c) {
          double sum = 0;
          for (int l = 0; l < width; ++l) sum += lane[r][c][l];
          room.sums[static_cast<std::size_t>((i + r) * block + j + c)] += sum;
        }
      }
    }
  }
  double most = 0;
  for (int l = 0; l < width; ++l) most = std::max(most, largest[l]);
  return most;
}

void tile(ExactProduct const& p, Room& room, std::int64_t first_row, std::int64_t first_column, Overflow& overflow) {
  Grid const grid(p.sums.fraction);
  auto const rows = std::min(block, p.a.rows - first_row), columns = std::min(block, p.b.rows - first_column);
  auto const up = [](std::int64_t n, int to) { return (n + to - 1) / to * to; };
  double bound = 0;  // of every sum so far
  for (std::int64_t i = 0; i < block; ++i) {
    for (std::int64_t j = 0; j < block; ++j) {
      double start = 0;
      if (i < rows && j < columns) {
        if (p.start != nullptr) {
          overflow.check(p.start[first_column + j], grid.range());
          start = grid.round(p.start[first_column + j]);
        }
        if (p.add) start += p.c[(first_row + i) * p.c_stride + first_column + j];
      }
      room.sums[static_cast<std::size_t>(i * block + j)] = start;
      bound = std::max(bound, std::abs(start));
    }
  }
  for (std::int64_t k = 0; k < p.k; k += depth) {
    auto const count = std::min(depth, p.k - k);
    double const a = pack(p.a, first_row, k, count, room.a), b = pack(p.b, first_column, k, count, room.b);
    bound += static_cast<double>(count) * (a * b + std::ldexp(1.0, -p.sums.fraction));
    auto const m = up(rows, rows_at_once), n = up(columns, columns_at_once), terms = up(count, width);
    if (bound <= grid.range()) {
      multiply<false>(room, m, n, terms, grid.magic());
      continue;
    }
    // Lanes may reach an eighth of what the sum of all of them may.
    double const most = multiply<true>(room, m, n, terms, grid.magic());
    if (std::isfinite(a) && std::isfinite(b)) overflow.check(most, grid.range() / 4);
    for (double const s : room.sums) overflow.check(s, 2 * grid.range());
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      double const sum = room.sums[static_cast<std::size_t>(i * block + j)];
      overflow.check(sum, p.sums.limit);
      p.c[(first_row + i) * p.c_stride + first_column + j] = sum;
    }
  }
}

}  // namespace

void exact_product(ExactProduct const& p, Overflow& overflow) {
  static std::string const label = "lamina::kernels::exact_product";
  auto const across = (p.b.rows + block - 1) / block, down = (p.a.rows + block - 1) / block;
  for_each_task(label, across * down, [&](std::int64_t task, int) {
    thread_local auto const room = std::make_unique<Room>();
    tile(p, *room, task / across * block, task % across * block, overflow);
  });
}

void Overflow::require(std::string_view op, std::string_view output, FixedPoint const& sums) const {
  double const found = found_.load(std::memory_order_relaxed);
  if (found == 0) return;
  fail({.code = "kernels.exact.range",
        .subject = text(op, ": a sum in ", output),
        .found = text(found, ", in fixed point with ", sums.fraction, " bits after the point"),
        .expected = text("sizes up to ", sums.limit, ", so that the sum over all ranks is exact"),
        .fix = "canonical mode does not hold numbers as large: see whether the run diverges, or use run.determinism = "
               "\"layout\""});
}

}  // namespace lamina::kernels::detail
