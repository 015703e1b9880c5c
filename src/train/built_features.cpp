// Compiled for the kernels' instruction set, but holds constants only: reading them is safe on any CPU.
#include "train/detail/built_features.hpp"

namespace lamina::train::detail {

BuiltFeatures const built_features = {
#ifdef __AVX2__
    .avx2 = true,
#else
    .avx2 = false,
#endif
#ifdef __FMA__
    .fma = true,
#else
    .fma = false,
#endif
#ifdef __AVX512F__
    .avx512f = true,
#else
    .avx512f = false,
#endif
#ifdef __AVX512BW__
    .avx512bw = true,
#else
    .avx512bw = false,
#endif
#ifdef __AVX512VL__
    .avx512vl = true,
#else
    .avx512vl = false,
#endif
#ifdef __AVX512VNNI__
    .avx512vnni = true,
#else
    .avx512vnni = false,
#endif
#ifdef __AVX512BF16__
    .avx512bf16 = true,
#else
    .avx512bf16 = false,
#endif
};

}  // namespace lamina::train::detail
