#include "lamina/kernels/embedding.hpp"

#include "../detail/element.hpp"

namespace lamina::kernels {

using detail::get, detail::put, detail::put_or_add;

void embedding_reference(EmbeddingArgs const& a) {
  auto const tokens = a.ids.spec.shape[1], columns = a.table.spec.shape[1];
  std::int64_t const position = a.position ? a.position.as<std::int32_t>()[0] : 0;
  for (std::int64_t r = 0; r < a.ids.spec.count(); ++r) {
    std::int64_t const id = a.ids.as<std::int32_t>()[r];
    for (std::int64_t d = 0; d < columns; ++d) {
      bool const here = id >= a.part.first && id < a.part.first + a.table.spec.shape[0];
      double x = here ? get(a.table, (id - a.part.first) * columns + d) : 0;
      if (a.positions) x += get(a.positions, (position + r % tokens) * columns + d);
      put(a.x, r * columns + d, x);
    }
  }
}

void embedding_grad_reference(EmbeddingGradArgs const& a) {
  auto const rows = a.ids.spec.count(), tokens = a.ids.spec.shape[1], columns = a.dtable.spec.shape[1];
  for (std::int64_t id = 0; id < a.dtable.spec.shape[0]; ++id) {
    for (std::int64_t d = 0; d < columns; ++d) {
      double sum = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        if (a.ids.as<std::int32_t>()[r] == a.part.first + id) sum += get(a.dx, r * columns + d);
      }
      put_or_add(a.dtable, id * columns + d, sum, a.accumulate, 0);
    }
  }
  if (!a.dpositions) return;
  for (std::int64_t t = 0; t < a.dpositions.spec.shape[0]; ++t) {
    for (std::int64_t d = 0; d < columns; ++d) {
      double sum = 0;
      for (std::int64_t r = t; r < rows && t < tokens; r += tokens) sum += get(a.dx, r * columns + d);
      put_or_add(a.dpositions, t * columns + d, sum, a.accumulate, 1);
    }
  }
}

}  // namespace lamina::kernels
