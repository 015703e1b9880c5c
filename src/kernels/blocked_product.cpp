#include "detail/blocked_product.hpp"

#include <algorithm>

#include "detail/blocked_work.hpp"
#include "detail/finish.hpp"
#include "detail/parallel.hpp"

namespace lamina::kernels::detail {
namespace {

/// One thread's buffers.
struct Buffers {
  std::uint32_t* b;
  std::uint32_t* a;
  float* t;
};

/// Rows [i, i + rows) of A, columns [j, j + columns) of B, words [word, word + words) of the contraction.
struct Block {
  std::int64_t i = 0, rows = 0, j = 0, columns = 0, word = 0, words = 0;
};

Piece piece_of(Work const& w, std::int64_t line, std::int64_t lines, std::int64_t word, std::int64_t words) {
  auto const per_word = word_elements(w.a.dtype);
  return {line, lines, word * per_word, std::min(words * per_word, w.k - word * per_word)};
}

/// The piece's memory, to be read while `words` words of the contraction are multiplied `calls` times.
Lines lines_of(Source const& s, Piece const& p, std::int64_t calls, std::int64_t words) {
  auto const size = sizeof_dtype(s.dtype);
  auto const rows = s.k_contiguous ? p.lines : p.depth, across = s.k_contiguous ? p.depth : p.lines;
  auto const first = s.k_contiguous ? p.line * s.ld + p.k : p.k * s.ld + p.line;
  auto const count = rows * divided_up(across * size, 64), fetches = calls * divided_up(words, words_per_fetch);
  return {.row = static_cast<char const*>(s.data) + first * size,
          .rows = rows,
          .bytes = across * size,
          .stride = s.ld * size,
          .lines = static_cast<int>(divided_up(count, fetches))};
}

/// One thread's share of a product.
class Share {
 public:
  Share(Work const& w, Buffers const& at, int part_i, int part_j) : w_(w), at_(at) {
    auto const blocks = divided_up(w.i, block_rows), panels = divided_up(w.j, panel);
    i_begin_ = blocks * part_i / w.parts_i * block_rows;
    i_end_ = std::min(w.i, blocks * (part_i + 1) / w.parts_i * block_rows);
    j_begin_ = panels * part_j / w.parts_j * panel;
    j_end_ = std::min(w.j, panels * (part_j + 1) / w.parts_j * panel);
  }

  template <class T>
  void run(Finish<T> const& finish) {
    for (auto b = sized({.i = i_begin_, .j = j_begin_}); b.rows > 0 && b.columns > 0; b = after(b)) {
      for (std::int64_t word = 0; word == 0 || word < w_.words; word += w_.chunk) multiply_chunk(chunk_of(b, word));
      auto const from = buffered_from(b);
      if (from == b.columns) continue;
      Sums const sums{at_.t + from, w_.columns, b.rows, b.columns - from};
      w_.transposed ? finish_transposed(finish, sums, b.j + from, b.i) : finish_straight(finish, sums, b.i, b.j + from);
    }
  }

 private:
  Block sized(Block b) const {
    b.rows = std::min(w_.rows, i_end_ - b.i), b.columns = std::min(w_.columns, j_end_ - b.j);
    return b;
  }
  /// The next block of sums; empty after the last one.
  Block after(Block b) const {
    b.word = 0;
    if (w_.order == Order::b_stays) {
      b.i += w_.rows;
      if (b.i >= i_end_) b.i = i_begin_, b.j += w_.columns;
    } else {
      b.j += w_.columns;
      if (b.j >= j_end_) b.j = j_begin_, b.i += w_.rows;
    }
    return sized(b);
  }
  Block chunk_of(Block b, std::int64_t word) const {
    b.word = word, b.words = std::min(w_.chunk, w_.words - word);
    return b;
  }
  /// The next chunk of the same or the next block.
  Block chunk_after(Block const& b) const {
    return b.word + w_.chunk < w_.words ? chunk_of(b, b.word + w_.chunk) : chunk_of(after(b), 0);
  }
  static std::int64_t calls_for(Block const& b) {
    return divided_up(b.rows, block_rows) * divided_up(b.columns, panel);
  }

  /// Columns from the first whose sums need the buffer: all, or what is left of the last panel.
  std::int64_t buffered_from(Block const& b) const { return w_.straight ? b.columns / panel * panel : 0; }

  Target target_of(Block const& b, std::int64_t i, std::int64_t j) const {
    bool const later = b.word > 0;
    if (j < buffered_from(b)) {
      auto* const c = static_cast<float*>(w_.c.data) + (b.i + i) * w_.c.ld + b.j + j;
      return {c, w_.c.ld, later || w_.accumulate};
    }
    return {at_.t + i * w_.columns + j, w_.columns, later};
  }

  /// The columns of B that a chunk needs; packs them if they are new, and has the next ones fetched.
  std::uint32_t const* columns_of(Block const& b) {
    if (w_.order == Order::b_stays) {
      if (b.word == 0 && b.i == i_begin_) pack_columns(w_.b, {b.j, b.columns, 0, w_.k}, at_.b, w_.words * panel);
      return at_.b + b.word * panel;
    }
    pack_columns(w_.b, piece_of(w_, b.j, b.columns, b.word, b.words), at_.b, w_.chunk * panel);
    auto const next = chunk_after(b);
    ahead_.b = {};
    if (next.rows > 0) {
      ahead_.b = lines_of(w_.b, piece_of(w_, next.j, next.columns, next.word, next.words), calls_for(b), b.words);
    }
    return at_.b;
  }

  /// Rows [i, i + rows) of A: where their words for the block's chunk are, and the distance from block to block.
  struct Rows {
    std::uint32_t const* a;
    std::int64_t stride, block;
  };
  Rows rows_of(Block const& b, std::int64_t i, std::int64_t rows) {
    auto const piece = piece_of(w_, b.i + i, rows, b.word, b.words);
    if (w_.reading == Reading::in_place) {
      auto const stride = w_.a.ld / word_elements(w_.a.dtype);
      return {static_cast<std::uint32_t const*>(w_.a.data) + (b.i + i) * stride + b.word, stride, stride * block_rows};
    }
    if (w_.reading == Reading::packed_rows) {
      pack_rows(w_.a, piece, at_.a, w_.chunk * block_rows);
      return {at_.a, 0, w_.chunk * block_rows};
    }
    if (!w_.copies_all_rows()) {
      copy_rows(w_.a, piece, at_.a, w_.a_words());
      return {at_.a, w_.a_words(), w_.a_words() * block_rows};
    }
    if (b.j == j_begin_ && b.word == 0) copy_rows(w_.a, {b.i, b.rows, 0, w_.k}, at_.a, w_.a_words());
    return {at_.a + i * w_.a_words() + b.word, w_.a_words(), w_.a_words() * block_rows};
  }

  void multiply_chunk(Block const& b) {
    auto const* const columns = columns_of(b);
    ahead_.c = {};
    if (!w_.straight && b.word + b.words >= w_.words) {
      Source const c{w_.c.data, w_.c.dtype, w_.c.ld, !w_.transposed};
      ahead_.c = lines_of(c, {b.i, b.rows, b.j, b.columns}, calls_for(b), b.words);
    }
    for (std::int64_t i = 0; i < b.rows; i += w_.group) multiply_group(b, i, std::min(w_.group, b.rows - i), columns);
  }

  void multiply_group(Block const& b, std::int64_t i, std::int64_t rows, std::uint32_t const* columns) {
    auto from = rows_of(b, i, rows);
    if (w_.order == Order::b_stays) fetch_rows_after(b, i, rows);
    for (std::int64_t r = i; r < i + rows; r += block_rows, from.a += from.block) {
      auto const kernel = w_.kernels[std::min<std::int64_t>(block_rows, i + rows - r) - 1];
      auto to = target_of(b, r, 0);
      for (std::int64_t j = 0; j < b.columns; j += panel) {
        auto const next = j + panel < b.columns ? target_of(b, r, j + panel)
                                                : target_of(b, r + block_rows < b.rows ? r + block_rows : 0, 0);
        to.next = next.t;
        kernel(b.words, from.a, from.stride, reinterpret_cast<float const*>(columns) + j * w_.b_words(), to, ahead_);
        to = next;
      }
    }
  }

  /// Has the rows of A behind [i, i + rows) of the block fetched, or those of the next chunk, meanwhile.
  void fetch_rows_after(Block const& b, std::int64_t i, std::int64_t rows) {
    auto const calls = divided_up(rows, block_rows) * divided_up(b.columns, panel);
    bool const last = i + rows >= b.rows;
    auto const next = last ? chunk_after(b) : b;
    auto const next_i = last ? 0 : i + rows;
    ahead_.a = {};
    if (next.rows <= 0) return;
    ahead_.a =
        lines_of(w_.a, piece_of(w_, next.i + next_i, std::min(w_.group, next.rows - next_i), next.word, next.words),
                 calls, b.words);
  }

  Work const& w_;
  Buffers const& at_;
  std::int64_t i_begin_, i_end_, j_begin_, j_end_;
  Ahead ahead_;
};

}  // namespace

void blocked_multiply(std::string_view op, Product const& p, Scratch scratch) {
  static std::string const label = "lamina::kernels::multiply";
  auto const work = make_work(op, p, scratch.left());
  auto const each = work.bytes();
  auto* const memory = static_cast<std::byte*>(scratch.take(each * work.parts_i * work.parts_j));
  for_each_slot(label, work.parts_i * work.parts_j, [&](int slot) {
    Scratch mine(memory + slot * each, each);
    Buffers const at{static_cast<std::uint32_t*>(mine.take(work.b_bytes())),
                     static_cast<std::uint32_t*>(mine.take(work.a_bytes())),
                     static_cast<float*>(mine.take(work.t_bytes()))};
    Share share(work, at, slot / work.parts_j, slot % work.parts_j);
    p.c.dtype == DType::f32 ? share.run(Finish<float>(p)) : share.run(Finish<Bf16>(p));
  });
}

}  // namespace lamina::kernels::detail
