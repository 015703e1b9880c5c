#include "detail/blocked_product.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "detail/check.hpp"
#include "detail/finish.hpp"
#include "detail/kokkos.hpp"
#include "detail/micro_kernel.hpp"
#include "detail/panels.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels::detail {
namespace {

// Cache blocking, chosen by measuring (perf/kernels/gemm_bench.cpp).
constexpr std::int64_t most_words = 512;                // of the contraction between two visits of the sums
constexpr std::int64_t most_rows = 8 * block_rows;      // of A that share one buffer of sums
constexpr std::int64_t most_columns = 12 * panel;       // of B packed at a time
constexpr std::int64_t columns_per_thread = 4 * panel;  // fewer: share out the rows as well

using Kernel = void (*)(std::int64_t, std::uint32_t const*, std::int64_t, std::int64_t, float const*, float*,
                        std::int64_t, bool);

template <class Word, int... Rows>
constexpr std::array<Kernel, sizeof...(Rows)> kernels_of(std::integer_sequence<int, Rows...>) {
  return {micro_kernel<Word, Rows + 1>...};
}

/// By rows - 1.
template <class Word>
constexpr auto kernels = kernels_of<Word>(std::make_integer_sequence<int, block_rows>{});

Kernel const* kernels_for(DType t) {
#if defined(__AVX512BF16__)
  if (t == DType::bf16) return kernels<WordBf16>.data();
#endif
  static_cast<void>(t);
  return kernels<WordF32>.data();
}

enum class Reading { in_place, copied_rows, packed_rows };

/// The rows of a block would fall into too few sets of a first-level cache (32 KiB, 8 ways, 64 sets of 64 bytes).
bool sets_collide(std::int64_t row_bytes) { return row_bytes % 2048 == 0; }

/// A product as the loops see it: t[i][j] = sum over k of a(i, k) b(j, k).
struct Work {
  Source a, b;
  std::int64_t i = 0, j = 0, k = 0;  // extents, elements
  bool transposed = false;           // t[i][j] belongs to c[j][i]
  Reading reading = Reading::in_place;
  Kernel const* kernels = nullptr;
  std::int64_t words = 0, chunk = 0;                   // of the contraction: all, and per visit of the sums
  int parts_i = 1, parts_j = 1;                        // threads along rows and columns
  std::int64_t columns = 0;                            // of B per block, a multiple of panel
  std::int64_t b_bytes = 0, a_bytes = 0, t_bytes = 0;  // scratch of one thread
};

std::int64_t divided_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

Work make_work(Product const& p) {
  Work w;
  Source const a{p.a.data, p.a.dtype, p.a.ld, !p.a.transposed};
  Source const b{p.b.data, p.b.dtype, p.b.ld, p.b.transposed};
  // With both contractions contiguous the smaller operand is the one to be packed, the larger one is read in place.
  w.transposed = a.k_contiguous && b.k_contiguous && p.m < p.n;
  w.a = w.transposed ? b : a;
  w.b = w.transposed ? a : b;
  w.i = w.transposed ? p.n : p.m;
  w.j = w.transposed ? p.m : p.n;
  w.k = p.k;
  w.kernels = kernels_for(p.a.dtype);
  w.words = words_of(p.k, p.a.dtype);
  w.chunk = round_up(divided_up(w.words, divided_up(w.words, most_words)), 4);
  auto const row_bytes = w.a.ld * sizeof_dtype(w.a.dtype);
  bool const words_lie_there =
      word_elements(w.a.dtype) * sizeof_dtype(w.a.dtype) == 4 && p.k % word_elements(w.a.dtype) == 0;
  w.reading = !w.a.k_contiguous                             ? Reading::packed_rows
              : !words_lie_there || sets_collide(row_bytes) ? Reading::copied_rows
                                                            : Reading::in_place;
  w.t_bytes = (most_rows + lanes) * 4;  // times columns
  w.a_bytes = w.reading == Reading::in_place ? 0 : most_rows * w.chunk * 4;
  w.b_bytes = w.words * 4;  // times columns
  return w;
}

std::int64_t bytes_for(Work const& w, std::int64_t columns) {
  return round_up(w.t_bytes * columns, 64) + round_up(w.a_bytes, 64) + round_up(w.b_bytes * columns, 64);
}

/// Shares the work out and chooses the width of a block of columns, so that it fits the scratch.
void share_out(std::string_view op, Work& w, std::int64_t scratch) {
  auto const panels = divided_up(w.j, panel);
  auto const useful = divided_up(w.i, block_rows) * panels;
  auto count = static_cast<int>(
      std::clamp<std::int64_t>(scratch / bytes_for(w, panel), 0, std::min<std::int64_t>(threads(), useful)));
  if (count == 0) {
    fail({.code = text("kernels.", op, ".scratch"),
          .subject = text(op, ": scratch"),
          .found = text(scratch, " bytes"),
          .expected = text("at least ", bytes_for(w, panel), " bytes"),
          .fix = "plan the scratch that the op asks for"});
  }
  // Rows in place cost nothing to read twice, so columns are shared out first; else the larger extent is.
  w.parts_j = 1;
  for (int parts = count; parts > 1; --parts) {
    if (count % parts != 0) continue;
    bool const wide = w.reading == Reading::packed_rows ? w.j > w.i : w.j >= parts * columns_per_thread;
    if (wide && panels >= parts) {
      w.parts_j = parts;
      break;
    }
  }
  w.parts_i = count / w.parts_j;
  auto const mine = divided_up(panels, w.parts_j) * panel;
  auto const most = w.reading == Reading::packed_rows ? 2 * most_columns : most_columns;
  auto columns = std::min(mine, most);
  while (columns > panel && bytes_for(w, columns) * count > scratch) columns -= panel;
  w.columns = round_up(divided_up(mine, divided_up(mine, columns)), panel);
}

/// One thread's buffers.
struct Buffers {
  std::uint32_t* b;
  std::uint32_t* a;
  float* t;
};

/// t (+)= rows [i0, i0 + rows) of A times the packed columns, over one chunk of the contraction.
void multiply_chunk(Work const& w, Buffers const& at, std::int64_t i0, std::int64_t rows, std::int64_t columns,
                    std::int64_t word0, std::int64_t words) {
  auto const per_word = word_elements(w.a.dtype);
  auto const k0 = word0 * per_word;
  Piece const piece{i0, rows, k0, std::min(words * per_word, w.k - k0)};
  std::uint32_t const* a = at.a;
  std::int64_t row = w.chunk, step = 1, block = w.chunk * block_rows;
  switch (w.reading) {
    case Reading::packed_rows:
      pack_rows(w.a, piece, at.a, block);
      row = 1, step = block_rows;
      break;
    case Reading::copied_rows:
      copy_rows(w.a, piece, at.a, w.chunk);
      break;
    case Reading::in_place:
      row = w.a.ld / per_word;
      block = row * block_rows;
      a = static_cast<std::uint32_t const*>(w.a.data) + i0 * row + word0;
      break;
  }
  auto const* const b = reinterpret_cast<float const*>(at.b) + word0 * panel;
  for (std::int64_t i = 0; i < rows; i += block_rows, a += block) {
    auto const kernel = w.kernels[std::min<std::int64_t>(block_rows, rows - i) - 1];
    for (std::int64_t j = 0; j < columns; j += panel) {
      kernel(words, a, row, step, b + j * w.words, at.t + i * w.columns + j, w.columns, word0 > 0);
    }
  }
}

template <class T>
void run_part(Work const& w, Finish<T> const& finish, Buffers const& at, int part_i, int part_j) {
  auto const blocks_i = divided_up(w.i, block_rows), panels = divided_up(w.j, panel);
  auto const i_begin = blocks_i * part_i / w.parts_i * block_rows;
  auto const i_end = std::min(w.i, blocks_i * (part_i + 1) / w.parts_i * block_rows);
  auto const j_begin = panels * part_j / w.parts_j * panel;
  auto const j_end = std::min(w.j, panels * (part_j + 1) / w.parts_j * panel);
  for (auto j = j_begin; j < j_end; j += w.columns) {
    auto const columns = std::min(w.columns, j_end - j);
    pack_columns(w.b, {j, columns, 0, w.k}, at.b, w.words * panel);
    for (auto i = i_begin; i < i_end; i += most_rows) {
      auto const rows = std::min(most_rows, i_end - i);
      for (std::int64_t word = 0; word < w.words; word += w.chunk) {
        multiply_chunk(w, at, i, rows, columns, word, std::min(w.chunk, w.words - word));
      }
      Sums const sums{at.t, w.columns, rows, columns};
      w.transposed ? finish_transposed(finish, sums, j, i) : finish_straight(finish, sums, i, j);
    }
  }
}

}  // namespace

std::int64_t blocked_scratch_bytes(Product const& p) { return bytes_for(make_work(p), panel); }

void blocked_multiply(std::string_view op, Product const& p, Scratch scratch) {
  static std::string const label = "lamina::kernels::multiply";
  auto work = make_work(p);
  share_out(op, work, scratch.left());
  auto const each = bytes_for(work, work.columns);
  auto* const memory = static_cast<std::byte*>(scratch.take(each * work.parts_i * work.parts_j));
  for_each_slot(label, work.parts_i * work.parts_j, [&](int slot) {
    Scratch mine(memory + slot * each, each);
    Buffers const at{static_cast<std::uint32_t*>(mine.take(work.b_bytes * work.columns)),
                     static_cast<std::uint32_t*>(mine.take(work.a_bytes)),
                     static_cast<float*>(mine.take(work.t_bytes * work.columns))};
    auto const part_i = slot / work.parts_j, part_j = slot % work.parts_j;
    if (p.c.dtype == DType::f32) {
      run_part(work, Finish<float>(p), at, part_i, part_j);
    } else {
      run_part(work, Finish<Bf16>(p), at, part_i, part_j);
    }
  });
}

}  // namespace lamina::kernels::detail
