#pragma once

// The head of a language model in blocks: rows of x times a block of the vocabulary. Logits are kept transposed,
// [V, rows]: then the weights are read where they lie, softmax statistics are vectors over rows whatever V is, and
// the weight gradient of a block is a plain product.
#include "check.hpp"
#include "lamina/kernels/vocab_part.hpp"
#include "product.hpp"

namespace lamina::kernels::detail {

struct HeadOperands {
  TensorRef x, w, bias, targets, scratch;
  VocabPart part = {};
};

/// Where gradients go: dx, and either dw and dbias or the gradient of the logits. Clear bits of `accumulate` overwrite:
/// bit 0 dw, bit 1 dbias.
struct HeadGradients {
  TensorRef dx, dlogits, dw, dbias;
  int accumulate = 0;
};

class Head {
 public:
  /// @param all_logits  room for the logits of a whole chunk of rows, else for a block of the vocabulary only
  /// @param grad        type of dx: room for its sums when it is bf16; null when there is no gradient
  Head(Check check, HeadOperands const& o, bool all_logits, DType const* grad);

  /// Statistics of all rows, 0 beyond them up to a multiple of `lanes`.
  float *max = nullptr, *sum = nullptr, *target = nullptr;

  std::int64_t rows() const { return rows_; }
  std::int64_t chunk() const { return chunk_; }  ///< rows at a time, a multiple of `lanes`

  /// Rows [r, r + chunk()): computes the logits block by block into the statistics; keeps them with `all_logits`.
  void statistics(std::int64_t r);
  /// The gradients of the same rows; recomputes the logits without `all_logits`. Later chunks of rows always add.
  void gradients(std::int64_t r, HeadGradients const& to);

 private:
  struct VocabBlock {
    std::int64_t v, count;  // rows [v, v + count) of w
    float* logits;          // [count, ld_]
  };
  void zero_padding(HeadGradients const& to) const;
  void add_weight_gradients(VocabBlock const& b, std::int64_t r, HeadGradients const& to);
  std::int64_t rows_from(std::int64_t r) const;
  VocabBlock block_at(std::int64_t v) const;
  void compute_logits(VocabBlock const& b, std::int64_t r);
  void update_statistics(VocabBlock const& b, std::int64_t r);
  template <class T>
  void gradient(VocabBlock const& b, std::int64_t r, T* g) const;
  template <class T>
  void store_rows(VocabBlock const& b, std::int64_t r, T const* g, T* dlogits) const;
  template <class T>
  void add_bias_gradient(VocabBlock const& b, std::int64_t rows, T const* g, float* dbias, bool add) const;

  Check check_;
  HeadOperands o_;
  std::int64_t rows_, model_, vocab_ /* rows of w that are words */, chunk_ = 0, block_ = 0, ld_ = 0, ld_of_g_ = 0;
  bool all_logits_;
  DType type_;
  Matrix w_;
  float *logits_ = nullptr, *dx_ = nullptr, *inverse_ = nullptr;
  void* g_ = nullptr;
  Scratch rest_;
};

}  // namespace lamina::kernels::detail
