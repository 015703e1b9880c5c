#include "lamina/kernels/dropout.hpp"

#include "../detail/element.hpp"
#include "lamina/base/philox.hpp"

namespace lamina::kernels {

void dropout_reference(DropoutArgs const& a) {
  auto const* rng = a.rng.as<std::int64_t>();
  auto const& s = a.x.spec.shape;
  // The index of an element of x in the whole tensor: its coordinates there, dim by dim.
  auto const index = [&](std::int64_t i) {
    std::int64_t at = 0, size = 1;
    for (int d = s.ndim() - 1; d > 0; --d) {
      bool const cut = d == a.split_dim;
      at += (i % s[d] + (cut ? a.first : 0)) * size;
      size *= cut ? a.extent : s[d];
      i /= s[d];
    }
    return at + (rng[2] + a.sample + i) * size;
  };
  for (std::int64_t i = 0; i < a.x.spec.count(); ++i) {
    auto const word = Philox::word(static_cast<std::uint64_t>(rng[0]), static_cast<std::uint64_t>(index(i)),
                                   static_cast<std::uint32_t>(rng[1]), a.operation);
    bool const keep = Philox::uniform(word) >= static_cast<float>(a.p);
    detail::put(a.y, i, keep ? detail::get(a.x, i) / (1 - a.p) : 0);
  }
}

}  // namespace lamina::kernels
