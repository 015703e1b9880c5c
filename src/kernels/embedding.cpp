#include "lamina/kernels/embedding.hpp"

#include "detail/ids.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {

void detail::require_ids(std::string_view op, TensorRef const& ids, std::int64_t vocab) {
  auto const* id = ids.as<std::int32_t>();
  for (std::int64_t r = 0; r < ids.spec.count(); ++r) {
    if (id[r] >= 0 && id[r] < vocab) continue;
    fail({.code = text("kernels.", op, ".id"),
          .subject = text(op, ": token ", r % ids.spec.shape.back(), " of sample ", r / ids.spec.shape.back()),
          .found = text("id ", id[r]),
          .expected = text("0 .. ", vocab - 1),
          .fix = "the data were made with a larger vocabulary than model.vocab"});
  }
}

void embedding(device::Stream& stream, EmbeddingArgs const& a) {
  using namespace detail;
  static std::string const label = "lamina::kernels::embedding";
  Check const check{"embedding"};
  check.ndim("table", a.table, 2);
  check.ndim("ids", a.ids, 2);
  auto const columns = a.table.spec.shape[1], words = a.part.valid(a.table.spec.shape[0]);
  auto const samples = a.ids.spec.shape[0], tokens = a.ids.spec.shape[1];
  check.dtype("table", a.table, {DType::f32});
  check.dtype("ids", a.ids, {DType::i32});
  check.dtype("x", a.x, {DType::f32});
  check.shape("x", a.x, {samples, tokens, columns});
  stream.wait();
  require_ids("embedding", a.ids, a.part.words(a.table.spec.shape[0]));
  std::int64_t first = 0;
  if (a.position) {
    check.dtype("position", a.position, {DType::i32});
    first = a.position.as<std::int32_t>()[0];
  }
  if (a.positions) {
    check.dtype("positions", a.positions, {DType::f32});
    check.shape("positions", a.positions, {a.positions.spec.shape[0], columns});
    if (first < 0 || first + tokens > a.positions.spec.shape[0]) {
      fail({.code = "kernels.embedding.position",
            .subject = "embedding: positions",
            .found = text(first, " .. ", first + tokens - 1),
            .expected = text("within 0 .. ", a.positions.spec.shape[0] - 1),
            .fix = "stop at the model's context"});
    }
  }
  auto const* id = a.ids.as<std::int32_t>();
  auto const grain = std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(1, columns));
  for_each_range(label, samples * tokens, grain, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      auto const word = id[row] - a.part.first;
      bool const here = word >= 0 && word < words;
      auto const* from = a.table.as<float>() + word * columns;
      auto* to = a.x.as<float>() + row * columns;
      auto const bytes = static_cast<std::size_t>(columns) * sizeof(float);
      auto const* at = a.positions ? a.positions.as<float>() + (first + row % tokens) * columns : nullptr;
      if (here && at != nullptr) {
        for_vectors(0, columns,
                    [&](std::int64_t i, auto part) { store(to + i, load(from + i, part) + load(at + i, part), part); });
      } else if (here || at != nullptr) {
        std::memcpy(to, here ? from : at, bytes);
      } else {
        std::memset(to, 0, bytes);
      }
    }
  });
}

}  // namespace lamina::kernels
