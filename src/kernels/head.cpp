#include "detail/head.hpp"

#include <algorithm>
#include <cmath>

#include "detail/ids.hpp"
#include "detail/linear.hpp"
#include "detail/math.hpp"
#include "detail/parallel.hpp"
#include "detail/transpose.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels::detail {
namespace {

constexpr std::int64_t most_vocab = 1024;  // per block: its logits stay in the caches between two passes
constexpr std::int64_t partial = 64;       // logits summed before they are added to the row's sum: less rounding
constexpr std::int64_t spare = 32;         // keeps the rows of g off multiples of 4 KiB

/// Blocks of about equal size, so that none is a thin rest.
std::int64_t balanced(std::int64_t extent, std::int64_t most, std::int64_t multiple) {
  auto const blocks = (extent + most - 1) / most;
  return round_up((extent + blocks - 1) / blocks, multiple);
}

}  // namespace

void require_targets(Check const& check, TensorRef const& targets, std::int64_t rows, std::int64_t vocab) {
  check.dtype("targets", targets, {DType::i32});
  check.count("targets", targets, rows);
  auto const* const t = targets.as<std::int32_t>();
  for (std::int64_t r = 0; r < rows; ++r) {
    if (t[r] < vocab) continue;
    fail({.code = text("kernels.", check.op, ".target"),
          .subject = text(check.op, ": target of row ", r),
          .found = text(t[r]),
          .expected = text("less than the vocabulary, ", vocab, "; negative to ignore it"),
          .fix = "the data were made with another tokenizer: set model.vocab to its size"});
  }
}

Head::Head(Check check, HeadOperands const& o, bool all_logits, DType const* grad)
    : check_(check), o_(o), all_logits_(all_logits), type_(o.x.spec.dtype), rest_(o.scratch) {
  check.dtype("x", o.x, {DType::f32, DType::bf16});
  check.ndim("x", o.x, 1);
  model_ = o.x.spec.shape.back();
  rows_ = model_ == 0 ? 0 : o.x.spec.count() / model_;
  check.dtype("w", o.w, {DType::f32, DType::bf16});
  check.ndim("w", o.w, 2);
  auto const rows_of_w = o.w.spec.shape[0];
  check.count("w", o.w, rows_of_w * model_);
  check_bias(check, "bias", o.bias, rows_of_w);
  require_targets(check, o.targets, rows_, o.part.words(rows_of_w));
  vocab_ = o.part.valid(rows_of_w);
  w_ = weight_operand(check, o.w, vocab_, model_, type_, rest_);
  block_ = balanced(std::max<std::int64_t>(vocab_, 1), most_vocab, lanes);

  auto const padded = round_up(rows_, lanes);
  auto const statistics_bytes = 4 * round_up(padded * 4, 64);
  auto const sums_of_dx = grad != nullptr && *grad == DType::bf16;
  auto const per_row =
      4 * ((all_logits ? vocab_ : block_) + (grad != nullptr ? block_ : 0) + (sums_of_dx ? model_ : 0));
  auto const for_products = (std::int64_t{threads()} << 21) + (std::int64_t{1} << 20);
  auto const fixed = statistics_bytes + for_products + 256 + 4 * spare * block_;
  if (rest_.left() < fixed + lanes * per_row)
    check.scratch({nullptr, {DType::u8, {rest_.left()}}}, fixed + lanes * per_row);
  auto const fitting = (rest_.left() - fixed) / per_row / lanes * lanes;
  chunk_ = balanced(std::max<std::int64_t>(rows_, 1), fitting, lanes);
  ld_ = chunk_;
  ld_of_g_ = chunk_ + spare;
  auto const floats = [&](std::int64_t count) { return static_cast<float*>(rest_.take(4 * count)); };
  max = floats(padded), sum = floats(padded), target = floats(padded), inverse_ = floats(padded);
  for (auto* const p : {max, sum, target, inverse_}) std::fill(p, p + padded, 0.f);
  logits_ = floats((all_logits ? vocab_ : block_) * ld_);
  if (grad != nullptr) g_ = floats(block_ * ld_of_g_);
  if (sums_of_dx) dx_ = floats(chunk_ * model_);
}

std::int64_t Head::rows_from(std::int64_t r) const { return std::min(chunk_, rows_ - r); }

Head::VocabBlock Head::block_at(std::int64_t v) const {
  return {v, std::min(block_, vocab_ - v), logits_ + (all_logits_ ? v * ld_ : 0)};
}

void Head::compute_logits(VocabBlock const& b, std::int64_t r) {
  auto const size = sizeof_dtype(type_);
  multiply(check_.op,
           {.m = b.count,
            .n = rows_from(r),
            .k = model_,
            .a = {.data = static_cast<std::byte*>(w_.data) + b.v * model_ * size, .dtype = type_, .ld = model_},
            .b = {.data = o_.x.as<std::byte>() + r * model_ * size, .dtype = type_, .ld = model_, .transposed = true},
            .c = {.data = b.logits, .dtype = DType::f32, .ld = ld_}},
           rest_);
  if (!o_.bias) return;
  static std::string const label = "lamina::kernels::head_bias";
  auto const* const bias = o_.bias.as<float>();
  for_each_range(label, b.count, 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto v = begin; v < end; ++v) {
      auto* const row = b.logits + v * ld_;
      for (std::int64_t i = 0; i < ld_; i += lanes) store(row + i, load(row + i) + bias[b.v + v]);
    }
  });
}

void Head::update_statistics(VocabBlock const& b, std::int64_t r) {
  static std::string const label = "lamina::kernels::head_statistics";
  constexpr int width = 8;  // vectors of rows at a time
  for_each_range(label, round_up(rows_from(r), lanes), width * lanes, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; i += width * lanes) {
      auto const vectors = static_cast<int>(std::min<std::int64_t>(width, (end - i) / lanes));
      Floats high[width], total[width];
      for (int l = 0; l < vectors; ++l) {
        high[l] = b.v == 0 ? splat(-__builtin_inff()) : load(max + r + i + l * lanes);
        total[l] = load(sum + r + i + l * lanes);
      }
      for (std::int64_t v0 = 0; v0 < b.count; v0 += partial) {
        auto const v1 = std::min(b.count, v0 + partial);
        Floats before[width], added[width] = {};
        std::copy(high, high + vectors, before);
        for (auto v = v0; v < v1; ++v) {
          auto const* const row = b.logits + v * ld_ + i;
          for (int l = 0; l < vectors; ++l) {
            Floats const x = load(row + l * lanes);
            high[l] = (x > high[l]) | (x != x) ? x : high[l];  // a NaN stays
          }
        }
        for (auto v = v0; v < v1; ++v) {
          auto const* const row = b.logits + v * ld_ + i;
          for (int l = 0; l < vectors; ++l) added[l] += exp(load(row + l * lanes) - high[l]);
        }
        for (int l = 0; l < vectors; ++l) total[l] = total[l] * exp(before[l] - high[l]) + added[l];
      }
      for (int l = 0; l < vectors; ++l) {
        store(max + r + i + l * lanes, high[l]);
        store(sum + r + i + l * lanes, total[l]);
      }
    }
  });
  auto const* const targets = o_.targets.as<std::int32_t>() + r;
  for (std::int64_t i = 0; i < rows_from(r); ++i) {
    auto const v = targets[i] - o_.part.first - b.v;
    if (targets[i] >= 0 && v >= 0 && v < b.count) target[r + i] = b.logits[v * ld_ + i];
  }
}

void Head::statistics(std::int64_t r) {
  if (vocab_ == 0) std::fill_n(max + r, rows_from(r), -__builtin_inff());
  for (std::int64_t v = 0; v < vocab_; v += block_) {
    auto const b = block_at(v);
    compute_logits(b, r);
    update_statistics(b, r);
  }
}

/// g = softmax - onehot; 0 in ignored rows.
template <class T>
void Head::gradient(VocabBlock const& b, std::int64_t r, T* g) const {
  static std::string const label = "lamina::kernels::head_gradient";
  auto const* const targets = o_.targets.as<std::int32_t>() + r;
  auto const probability = [&](std::int64_t v, std::int64_t i) {
    return exp(load(b.logits + v * ld_ + i) - load(max + r + i)) * load(inverse_ + r + i);
  };
  for_each_range(label, round_up(rows_from(r), lanes), 8 * lanes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t v = 0; v < b.count; ++v) {
      for (auto i = begin; i < end; i += lanes) store(g + v * ld_of_g_ + i, probability(v, i));
    }
    for (auto i = begin; i < std::min(end, rows_from(r)); ++i) {
      auto const v = targets[i] - o_.part.first - b.v;
      if (targets[i] < 0 || v < 0 || v >= b.count) continue;
      auto const first = i / lanes * lanes;
      auto const p = probability(v, first)[static_cast<int>(i - first)];
      store(g + v * ld_of_g_ + i, splat(p - 1.f), Part{1});
    }
  });
}

template <class T>
void Head::add_bias_gradient(VocabBlock const& b, std::int64_t rows, T const* g, float* dbias, bool add) const {
  static std::string const label = "lamina::kernels::head_bias_gradient";
  for_each_range(label, b.count, 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto v = begin; v < end; ++v) {
      auto const s = sum_vectors(rows, [&](std::int64_t i, auto count) { return load(g + v * ld_of_g_ + i, count); });
      dbias[b.v + v] = add ? dbias[b.v + v] + s : s;
    }
  });
}

/// A block's gradient [words, rows] becomes columns of dlogits [rows, words].
template <class T>
void Head::store_rows(VocabBlock const& b, std::int64_t r, T const* g, T* dlogits) const {
  static std::string const label = "lamina::kernels::head_store_rows";
  auto const width = o_.w.spec.shape[0];
  for_each_range(label, rows_from(r), lanes, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; i += lanes) {
      auto const rows = std::min<std::int64_t>(lanes, end - i);
      for (std::int64_t v = 0; v < b.count; v += lanes) {
        Part const words{static_cast<int>(std::min<std::int64_t>(lanes, b.count - v))};
        Floats square[lanes];
        for (int l = 0; l < lanes; ++l) {
          square[l] = l < words.count ? load(g + (v + l) * ld_of_g_ + i) : Floats{};
        }
        transpose(square);
        auto* const to = dlogits + (r + i) * width + b.v + v;
        for (int l = 0; l < rows; ++l) {
          words.count == lanes ? store(to + l * width, square[l]) : store(to + l * width, square[l], words);
        }
      }
    }
  });
}

/// Nothing is ever added to the rows behind the last word, so the first writer of a step sets them.
void Head::zero_padding(HeadGradients const& to) const {
  auto const words = o_.w.spec.shape[0], padding = words - vocab_;
  if (to.dlogits) {
    auto const size = sizeof_dtype(type_);
    for (std::int64_t r = 0; r < rows_ && padding > 0; ++r) {
      std::fill_n(to.dlogits.as<std::byte>() + (r * words + vocab_) * size, padding * size, std::byte{0});
    }
    return;
  }
  if ((to.accumulate & 1) == 0) std::fill_n(to.dw.as<float>() + vocab_ * model_, padding * model_, 0.f);
  if (to.dbias && (to.accumulate & 2) == 0) std::fill_n(to.dbias.as<float>() + vocab_, padding, 0.f);
}

void Head::add_weight_gradients(VocabBlock const& b, std::int64_t r, HeadGradients const& to) {
  auto const rows = rows_from(r), size = sizeof_dtype(type_);
  multiply(check_.op,
           {.m = b.count,
            .n = model_,
            .k = rows,
            .a = {.data = g_, .dtype = type_, .ld = ld_of_g_},
            .b = {.data = o_.x.as<std::byte>() + r * model_ * size, .dtype = type_, .ld = model_},
            .c = {.data = to.dw.as<float>() + b.v * model_, .dtype = DType::f32, .ld = model_},
            .accumulate = r > 0 || (to.accumulate & 1) != 0},
           rest_);
  if (!to.dbias) return;
  bool const add = r > 0 || (to.accumulate & 2) != 0;
  type_ == DType::f32 ? add_bias_gradient(b, rows, static_cast<float*>(g_), to.dbias.as<float>(), add)
                      : add_bias_gradient(b, rows, static_cast<Bf16*>(g_), to.dbias.as<float>(), add);
}

void Head::gradients(std::int64_t r, HeadGradients const& to) {
  auto const rows = rows_from(r), size = sizeof_dtype(type_);
  auto const* const targets = o_.targets.as<std::int32_t>() + r;
  for (std::int64_t i = 0; i < rows; ++i) inverse_[r + i] = targets[i] < 0 ? 0.f : 1.f / sum[r + i];
  auto* const sums_of_dx = dx_ != nullptr ? dx_ : to.dx.as<float>() + r * model_;
  for (std::int64_t v = 0; v < vocab_; v += block_) {
    auto b = block_at(v);
    if (!all_logits_) compute_logits(b, r);
    type_ == DType::f32 ? gradient(b, r, static_cast<float*>(g_)) : gradient(b, r, static_cast<Bf16*>(g_));
    multiply(check_.op,
             {.m = rows,
              .n = model_,
              .k = b.count,
              .a = {.data = g_, .dtype = type_, .ld = ld_of_g_, .transposed = true},
              .b = {.data = static_cast<std::byte*>(w_.data) + b.v * model_ * size, .dtype = type_, .ld = model_},
              .c = {.data = sums_of_dx, .dtype = DType::f32, .ld = model_},
              .accumulate = v > 0},
             rest_);
    if (!to.dlogits) {
      add_weight_gradients(b, r, to);
    } else if (type_ == DType::f32) {
      store_rows(b, r, static_cast<float*>(g_), to.dlogits.as<float>());
    } else {
      store_rows(b, r, static_cast<Bf16*>(g_), to.dlogits.as<Bf16>());
    }
  }
  if (vocab_ == 0) std::fill_n(sums_of_dx, rows * model_, 0.f);
  if (r == 0) zero_padding(to);
  if (dx_ != nullptr) convert(dx_, DType::f32, to.dx.as<Bf16>() + r * model_, DType::bf16, rows * model_);
}

}  // namespace lamina::kernels::detail
