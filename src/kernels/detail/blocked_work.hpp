#pragma once

// How our own product is cut into pieces that fit the caches, the threads and the scratch.
#include "micro_kernel.hpp"
#include "panels.hpp"
#include "product.hpp"

namespace lamina::kernels::detail {

/// How words of A get to the micro-kernel: from where they lie; from copies of the rows (their stride would map them
/// to a few sets of the first-level cache, or elements must be converted); from panels (k is not contiguous).
enum class Reading { in_place, copied_rows, packed_rows };

/// Which operand stays while the other streams by. `b_stays`: a block of columns of B is packed once, over the whole
/// contraction, and rows of A are read once. `a_stays`: a block of rows of A is kept, and B is packed and used up
/// panel by panel.
enum class Order { b_stays, a_stays };

using Kernel = void (*)(std::int64_t, std::uint32_t const*, std::int64_t, float const*, Target const&, Ahead&);

/// A product as the loops see it: t[i][j] = sum over k of a(i, k) b(j, k). `words` of the contraction are visited in
/// chunks; between chunks the sums lie in a buffer or in c.
struct Work {
  Source a, b;
  std::int64_t i = 0, j = 0, k = 0;  ///< extents, elements
  bool transposed = false;           ///< t[i][j] belongs to c[j][i]
  Reading reading = Reading::in_place;
  Order order = Order::b_stays;
  Kernel const* kernels = nullptr;  ///< by rows - 1
  std::int64_t words = 0, chunk = 0;
  int parts_i = 1, parts_j = 1;        ///< threads along rows and columns
  std::int64_t rows = 0, columns = 0;  ///< of a block of sums; columns a multiple of `panel`
  std::int64_t group = 0;              ///< rows of A that are copied or packed together
  Matrix c;
  bool straight = false;  ///< sums of whole panels go to c without a buffer
  bool accumulate = false;

  bool copies_all_rows() const { return order == Order::a_stays; }
  /// Between rows of a copy: never a multiple of a power of two, see Reading.
  std::int64_t a_words() const {
    return (copies_all_rows() ? words : chunk) + (reading == Reading::copied_rows ? 16 : 0);
  }
  std::int64_t b_words() const { return order == Order::b_stays ? words : chunk; }
  std::int64_t a_bytes() const { return reading == Reading::in_place ? 0 : group * a_words() * 4; }
  std::int64_t b_bytes() const { return b_words() * columns * 4; }
  std::int64_t t_bytes() const { return (rows + lanes) * columns * 4; }
  std::int64_t bytes() const;  ///< scratch of one thread
};

/// @throws Error "kernels.<op>.scratch".
Work make_work(std::string_view op, Product const& p, std::int64_t scratch);

inline std::int64_t divided_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

}  // namespace lamina::kernels::detail
