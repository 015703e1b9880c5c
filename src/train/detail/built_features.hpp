#pragma once

namespace lamina::train::detail {

/// Instruction set extensions that the compiler was allowed to use in kernels.
struct BuiltFeatures {
  bool avx2, fma, avx512f, avx512bw, avx512vl, avx512vnni, avx512bf16;
};
extern BuiltFeatures const built_features;

}  // namespace lamina::train::detail
