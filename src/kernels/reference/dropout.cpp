#include "lamina/kernels/dropout.hpp"

#include "../detail/element.hpp"
#include "lamina/base/philox.hpp"

namespace lamina::kernels {

void dropout_reference(DropoutArgs const& a) {
  auto const* rng = a.rng.as<std::int64_t>();
  auto const count = a.x.spec.count(), samples = a.x.spec.shape[0];
  auto const first = samples == 0 ? 0 : (rng[2] + a.sample) * (count / samples);
  for (std::int64_t i = 0; i < count; ++i) {
    auto const word = Philox::word(static_cast<std::uint64_t>(rng[0]), static_cast<std::uint64_t>(first + i),
                                   static_cast<std::uint32_t>(rng[1]), a.operation);
    bool const keep = Philox::uniform(word) >= static_cast<float>(a.p);
    detail::put(a.y, i, keep ? detail::get(a.x, i) / (1 - a.p) : 0);
  }
}

}  // namespace lamina::kernels
