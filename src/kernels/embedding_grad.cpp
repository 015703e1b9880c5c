#include <cstring>

#include "detail/ids.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"
#include "lamina/kernels/embedding.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

void zero_rows(std::string const& label, TensorRef const& t, std::int64_t from_row) {
  auto const columns = t.spec.shape[1], rows = t.spec.shape[0] - from_row;
  auto* const p = t.as<float>() + from_row * columns;
  for_each_range(label, rows * columns, 65536,
                 [&](std::int64_t begin, std::int64_t end) { std::fill(p + begin, p + end, 0.f); });
}

// A strip of columns belongs to one thread, which walks the tokens in order.
void add_to_table(EmbeddingGradArgs const& a, std::int64_t columns) {
  static std::string const label = "lamina::kernels::embedding_grad";
  auto const rows = a.ids.spec.count(), words = a.part.valid(a.dtable.spec.shape[0]);
  auto const* id = a.ids.as<std::int32_t>();
  for_each_range(label, columns, lanes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = 0; row < rows; ++row) {
      auto const word = id[row] - a.part.first;
      if (word < 0 || word >= words) continue;
      auto const* from = a.dx.as<float>() + row * columns;
      auto* to = a.dtable.as<float>() + word * columns;
      auto const ahead = row + 4 < rows ? id[row + 4] - a.part.first : -1;
      if (ahead >= 0 && ahead < words) __builtin_prefetch(a.dtable.as<float>() + ahead * columns + begin, 1);
      for_vectors(begin, end,
                  [&](std::int64_t i, auto part) { store(to + i, load(to + i, part) + load(from + i, part), part); });
    }
  });
}

void add_positions(EmbeddingGradArgs const& a, std::int64_t columns) {
  static std::string const label = "lamina::kernels::embedding_grad_positions";
  auto const samples = a.ids.spec.shape[0], tokens = a.ids.spec.shape[1];
  bool const add = (a.accumulate & 2) != 0;
  auto const grain = std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(1, samples * columns));
  for_each_range(label, tokens, grain, [&](std::int64_t begin, std::int64_t end) {
    for (auto t = begin; t < end; ++t) {
      auto* to = a.dpositions.as<float>() + t * columns;
      for_vectors(0, columns, [&](std::int64_t i, auto part) {
        Floats sum{};
        for (std::int64_t b = 0; b < samples; ++b) sum += load(a.dx.as<float>() + (b * tokens + t) * columns + i, part);
        store(to + i, add ? load(to + i, part) + sum : sum, part);
      });
    }
  });
}

}  // namespace
}  // namespace detail

void embedding_grad(device::Stream& stream, EmbeddingGradArgs const& a) {
  static std::string const zero_label = "lamina::kernels::embedding_grad_zero";
  detail::Check const check{"embedding_grad"};
  check.ndim("dtable", a.dtable, 2);
  check.ndim("ids", a.ids, 2);
  auto const columns = a.dtable.spec.shape[1];
  auto const samples = a.ids.spec.shape[0], tokens = a.ids.spec.shape[1];
  check.dtype("dx", a.dx, {DType::f32});
  check.dtype("ids", a.ids, {DType::i32});
  check.dtype("dtable", a.dtable, {DType::f32});
  check.shape("dx", a.dx, {samples, tokens, columns});
  if (a.dpositions) {
    auto const context = a.dpositions.spec.shape[0];
    check.dtype("dpositions", a.dpositions, {DType::f32});
    check.shape("dpositions", a.dpositions, {std::max(tokens, context), columns});
  }
  stream.wait();
  detail::require_ids("embedding_grad", a.ids, a.part.words(a.dtable.spec.shape[0]));
  if (!(a.accumulate & 1)) detail::zero_rows(zero_label, a.dtable, 0);
  detail::add_to_table(a, columns);
  if (!a.dpositions) return;
  detail::add_positions(a, columns);
  if (!(a.accumulate & 2)) detail::zero_rows(zero_label, a.dpositions, tokens);
}

}  // namespace lamina::kernels
