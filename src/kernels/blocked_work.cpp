#include "detail/blocked_work.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "detail/check.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/runtime.hpp"

namespace lamina::kernels::detail {
namespace {

// Chosen by measuring: perf/kernels/gemm_bench.cpp.
constexpr std::int64_t most_words = 1024;                      // per chunk
constexpr std::int64_t columns_that_stay = 12 * panel;         // of B, when rows are read in place
constexpr std::int64_t columns_that_stay_packed = 24 * panel;  // when reading rows costs something
constexpr std::int64_t streaming_rows = 8 * block_rows;        // of A, finished together
constexpr std::int64_t rows_that_stay = 36 * block_rows;       // of A
constexpr std::int64_t streaming_columns = 2 * panel;          // of B, finished together
constexpr std::int64_t columns_per_thread = 4 * panel;         // fewer: share out the rows as well

template <class Word, class Words, int... Rows>
constexpr std::array<Kernel, sizeof...(Rows)> kernels_of(std::integer_sequence<int, Rows...>) {
  return {micro_kernel<Word, Words, Rows + 1>...};
}

template <class Word, class Words>
constexpr auto kernels = kernels_of<Word, Words>(std::make_integer_sequence<int, block_rows>{});

Kernel const* kernels_for(DType t, bool packed) {
#if defined(__AVX512BF16__)
  if (t == DType::bf16) return (packed ? kernels<WordBf16, PackedWords> : kernels<WordBf16, WordsInRows>).data();
#endif
  static_cast<void>(t);
  return (packed ? kernels<WordF32, PackedWords> : kernels<WordF32, WordsInRows>).data();
}

/// Rows so far apart fall into too few sets of a first-level cache (32 KiB, 8 ways, 64 sets of 64 bytes).
bool sets_collide(std::int64_t row_bytes) { return row_bytes % 2048 == 0; }

Reading reading_of(Source const& a, std::int64_t k) {
  if (!a.k_contiguous) return Reading::packed_rows;
  auto const size = sizeof_dtype(a.dtype);
  auto const per_word = word_elements(a.dtype);
  bool const are_words = per_word * size == 4 && k % per_word == 0;
  return are_words && !sets_collide(a.ld * size) ? Reading::in_place : Reading::copied_rows;
}

/// Shares rows and columns out between `count` threads.
void share_out(Work& w, int count) {
  auto const panels = divided_up(w.j, panel);
  // Rows in place cost nothing to read twice, so columns are shared out first; else the larger extent is.
  w.parts_j = 1;
  for (int parts = count; parts > 1; --parts) {
    bool const wide = w.reading == Reading::packed_rows ? w.j > w.i : w.j >= parts * columns_per_thread;
    if (count % parts != 0 || !wide || panels < parts) continue;
    w.parts_j = parts;
    break;
  }
  w.parts_i = count / w.parts_j;
}

/// The largest blocks that fit into `bytes`; false when even the smallest do not.
bool choose_blocks(Work& w, std::int64_t bytes) {
  auto const mine_i = divided_up(divided_up(w.i, block_rows), w.parts_i) * block_rows;
  auto const mine_j = divided_up(divided_up(w.j, panel), w.parts_j) * panel;
  auto const even = [](std::int64_t extent, std::int64_t most, std::int64_t unit) {
    return divided_up(divided_up(extent, divided_up(extent, most)), unit) * unit;
  };
  bool const b_stays = w.order == Order::b_stays;
  auto most_rows = b_stays ? streaming_rows : rows_that_stay;
  auto most_columns = !b_stays                            ? streaming_columns
                      : w.reading == Reading::packed_rows ? columns_that_stay_packed
                                                          : columns_that_stay;
  for (;;) {
    w.rows = even(mine_i, most_rows, block_rows);
    w.columns = even(mine_j, most_columns, panel);
    w.group = w.copies_all_rows() || w.reading == Reading::packed_rows ? w.rows : block_rows;
    if (w.bytes() <= bytes) return true;
    if (w.columns > panel) {
      most_columns = w.columns - panel;
    } else if (w.rows > block_rows) {
      most_rows = w.rows - block_rows;
    } else {
      return false;
    }
  }
}

}  // namespace

std::int64_t Work::bytes() const { return round_up(t_bytes(), 64) + round_up(a_bytes(), 64) + round_up(b_bytes(), 64); }

Work make_work(std::string_view op, Product const& p, std::int64_t scratch) {
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
  w.words = words_of(p.k, p.a.dtype);
  w.chunk = round_up(divided_up(w.words, std::max<std::int64_t>(1, divided_up(w.words, most_words))), 4);
  w.reading = reading_of(w.a, w.k);
  w.kernels = kernels_for(p.a.dtype, w.reading == Reading::packed_rows);
  w.order = w.transposed || w.reading == Reading::packed_rows ? Order::b_stays : Order::a_stays;
  w.c = p.c;
  w.accumulate = p.accumulate;
  w.straight = !w.transposed && p.c.dtype == DType::f32 && p.bias == nullptr && p.activated == nullptr;
  auto count =
      static_cast<int>(std::min<std::int64_t>(threads(), divided_up(w.i, block_rows) * divided_up(w.j, panel)));
  for (; count > 0; --count) {
    share_out(w, count);
    if (choose_blocks(w, scratch / count / 64 * 64)) return w;
  }
  fail({.code = text("kernels.", op, ".scratch"),
        .subject = text(op, ": scratch"),
        .found = text(scratch, " bytes"),
        .expected = text("at least ", w.bytes(), " bytes"),
        .fix = "plan the scratch that the op asks for"});
}

}  // namespace lamina::kernels::detail
