#pragma once

#include "check.hpp"
#include "math.hpp"

namespace lamina::kernels::detail {

/// f32 arrays like g, which may be f64, and hyper.
inline void check_state(Check const& check, TensorRef const& g,
                        std::initializer_list<std::pair<std::string_view, TensorRef const*>> state,
                        TensorRef const& hyper) {
  check.dtype("g", g, {DType::f32, DType::f64});
  check.present("g", g);
  for (auto const& [name, t] : state) {
    check.dtype(name, *t, {DType::f32});
    check.shape(name, *t, g.spec.shape);
  }
  check.dtype("hyper", hyper, {DType::f64});
  check.count("hyper", hyper, 4);
}

}  // namespace lamina::kernels::detail
