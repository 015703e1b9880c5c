#pragma once

#include "product.hpp"

namespace lamina::kernels::detail {

/// Our own product, after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), with two
/// differences: the operand whose words are broadcast is read where it lies whenever its contraction is contiguous,
/// and blocks of the result are finished (bias, transposition, activation, rounding) from a buffer in the second-level
/// cache. Allocates nothing. Every element of c is summed in an order that depends on the shape only: the number of
/// threads and the amount of scratch change no bit.
/// @throws Error "kernels.<op>.scratch" when scratch is too small for even one panel.
void blocked_multiply(std::string_view op, Product const& p, Scratch scratch);

}  // namespace lamina::kernels::detail
