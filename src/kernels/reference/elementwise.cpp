#include "../detail/element.hpp"
#include "lamina/kernels/add.hpp"
#include "lamina/kernels/cast.hpp"
#include "lamina/kernels/fill.hpp"
#include "lamina/kernels/select_token.hpp"
#include "lamina/kernels/slice.hpp"

namespace lamina::kernels {

using detail::get, detail::put;

void add_reference(AddArgs const& a) {
  for (std::int64_t i = 0; i < a.y.spec.count(); ++i) put(a.y, i, get(a.a, i) + get(a.b, i));
}

void cast_reference(CastArgs const& a) {
  for (std::int64_t i = 0; i < a.y.spec.count(); ++i) put(a.y, i, get(a.x, i));
}

void fill_reference(FillArgs const& a) {
  for (std::int64_t i = 0; i < a.y.spec.count(); ++i) put(a.y, i, a.value);
}

void zero_reference(ZeroArgs const& a) {
  for (std::int64_t i = 0; i < a.y.spec.bytes(); ++i) a.y.as<char>()[i] = 0;
}

void select_token_reference(SelectTokenArgs const& a) {
  auto const tokens = a.x.spec.shape[1], bytes = a.x.spec.shape[2] * sizeof_dtype(a.x.spec.dtype);
  for (std::int64_t b = 0; b < a.x.spec.shape[0]; ++b) {
    auto const from = b * tokens + a.last.as<std::int32_t>()[0];
    for (std::int64_t i = 0; i < bytes; ++i) a.y.as<char>()[b * bytes + i] = a.x.as<char>()[from * bytes + i];
  }
}

void slice_reference(SliceArgs const& a) {
  auto const &from = a.x.spec.shape, &to = a.y.spec.shape;
  auto const size = sizeof_dtype(a.x.spec.dtype), inner = to.count(a.dim + 1, to.ndim());
  for (std::int64_t i = 0; i < a.y.spec.count(); ++i) {
    auto const outer = i / inner / to[a.dim], at = a.first + i / inner % to[a.dim];
    auto const j = (outer * from[a.dim] + at) * inner + i % inner;
    for (std::int64_t b = 0; b < size; ++b) a.y.as<char>()[i * size + b] = a.x.as<char>()[j * size + b];
  }
}

}  // namespace lamina::kernels
