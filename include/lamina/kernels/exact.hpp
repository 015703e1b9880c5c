#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/kernels/cross_entropy.hpp"
#include "lamina/kernels/embedding.hpp"
#include "lamina/kernels/fixed_point.hpp"
#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/loss_sum.hpp"
#include "lamina/kernels/mse.hpp"
#include "lamina/kernels/square_norm.hpp"

/// The kernels of canonical mode whose sums are cut differently on different meshes: every term is rounded to a
/// multiple of a power of two before it is added, so that every order and every grouping gives the same bits (fixed
/// point; Demmel and Nguyen, "Fast reproducible floating-point summation", 2013). Sums are f64, whose 53 bits hold them
/// exactly within `FixedPoint::limit`; a sum beyond it is an error "kernels.exact.range" that names the value. NaN and
/// infinity are passed on. Any number of threads; memory of their own beside the plan's:
/// 140 KiB a thread.
namespace lamina::kernels {

/// `y` is f64 [M dims, N dims]. bf16 x with f32 w rounds w to bf16 first, as `linear`.
void linear_exact(device::Stream& stream, Exact<LinearArgs> const& a);
/// `dx` is f64.
void linear_grad_input_exact(device::Stream& stream, Exact<LinearGradInputArgs> const& a);
/// `dw`, `dbias` are f64.
void linear_grad_weight_exact(device::Stream& stream, Exact<LinearGradWeightArgs> const& a);
/// `dtable`, `dpositions` are f64.
void embedding_grad_exact(device::Stream& stream, Exact<EmbeddingGradArgs> const& a);
/// `dscale`, `dshift` are f64; dx is that of the reference.
void layer_norm_grad_exact(device::Stream& stream, Exact<LayerNormGradArgs> const& a);
/// Logits are exact sums; the outputs are those of the plain kernel.
void head_loss_stats_exact(device::Stream& stream, Exact<HeadLossStatsArgs> const& a);
/// `dx`, `dw`, `dbias` are f64. The gradient of the logits is rounded to f32.
void head_loss_grad_exact(device::Stream& stream, Exact<HeadLossGradArgs> const& a);
/// Every row's loss is a multiple.
void loss_sum_exact(device::Stream& stream, Exact<LossSumArgs> const& a);
void cross_entropy_exact(device::Stream& stream, Exact<CrossEntropyArgs> const& a);
void mse_exact(device::Stream& stream, Exact<MseArgs> const& a);

/// sum[r] = sum over the words that are here of exp(logit - max[r]), max being that of the whole vocabulary. The second
/// half of a softmax whose vocabulary may be cut.
struct HeadLossSumArgs {
  TensorRef x;        ///< [R dims, D] f32 or bf16
  TensorRef w;        ///< [V, D] f32 or bf16, or the rows of `part`
  TensorRef bias;     ///< [V] f32 like the rows of w, or absent
  TensorRef max;      ///< [R dims] f32
  TensorRef sum;      ///< [R dims] f64, overwritten
  TensorRef scratch;  ///< u8, as planned for the op
  VocabPart part = {};
};
/// `sums` is the fixed point of the exponentials.
void head_loss_sum_exact(device::Stream& stream, Exact<HeadLossSumArgs> const& a);

/// norm f64[4] (+)= {multiples of 1, number of elements that are not finite, multiples of 2^-24, of 2^-48}: the squares
/// of the elements as f32, cut in three pieces, each summed exactly for up to 2^29 elements; the sum of squares is
/// (norm[0] + norm[2]) + norm[3]. g are f32 or f64.
void square_norm_exact(device::Stream& stream, SquareNormArgs const& a);

}  // namespace lamina::kernels
