#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamina/base/philox.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/runtime.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::test {

/// Starts the kernels' threads once for the test program; kernel tests include this header and need no main.
class KernelEnvironment : public ::testing::Environment {
 public:
  void SetUp() override { runtime_.emplace(2); }
  void TearDown() override { runtime_.reset(); }

 private:
  std::optional<kernels::Runtime> runtime_;
};
inline ::testing::Environment* const kernel_environment =
    ::testing::AddGlobalTestEnvironment(std::make_unique<KernelEnvironment>().release());

/// A tensor with memory, surrounded by a guard that `guarded` checks: a kernel that writes outside is found.
class Tensor {
 public:
  explicit Tensor(TensorSpec spec) : spec_(spec), bytes_(static_cast<std::size_t>(spec.bytes()) + 2 * guard, 0xA5) {
    std::fill_n(bytes_.begin() + guard, spec.bytes(), 0xFF);  // NaN in f32, bf16 and f64: reads before writes are seen
  }
  Tensor(DType dtype, Shape shape) : Tensor(TensorSpec{dtype, shape}) {}

  /// Values in (-scale, scale) plus `middle`, a function of the seed and the index alone.
  static Tensor random(DType dtype, Shape shape, std::uint64_t seed, double scale = 1, double middle = 0) {
    Tensor t(dtype, shape);
    for (std::int64_t i = 0; i < t.spec_.count(); ++i) {
      auto const word = Philox::word(seed, static_cast<std::uint64_t>(i), 0, 0);
      t.set(i, middle + scale * (2 * static_cast<double>(Philox::uniform(word)) - 1));
    }
    return t;
  }
  static Tensor integers(Shape shape, std::uint64_t seed, std::uint32_t below) {
    Tensor t(DType::i32, shape);
    for (std::int64_t i = 0; i < t.spec_.count(); ++i) {
      t.set(i, Philox::word(seed, static_cast<std::uint64_t>(i), 0, 0) % below);
    }
    return t;
  }
  static Tensor of(DType dtype, std::vector<double> const& values) {
    Tensor t(dtype, {static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i) t.set(static_cast<std::int64_t>(i), values[i]);
    return t;
  }

  TensorSpec const& spec() const { return spec_; }
  TensorRef ref() { return {data(), spec_}; }
  operator TensorRef() { return ref(); }
  void* data() { return bytes_.data() + guard; }
  void const* data() const { return bytes_.data() + guard; }

  double get(std::int64_t i) const {
    switch (spec_.dtype) {
      case DType::f32:
        return at<float>(i);
      case DType::f64:
        return at<double>(i);
      case DType::i32:
        return at<std::int32_t>(i);
      case DType::i64:
        return static_cast<double>(at<std::int64_t>(i));
      default: {
        std::uint32_t const u = std::uint32_t{at<std::uint16_t>(i)} << 16;
        float f;
        std::memcpy(&f, &u, sizeof f);
        return f;
      }
    }
  }
  void set(std::int64_t i, double value) {
    switch (spec_.dtype) {
      case DType::f32:
        return put(i, static_cast<float>(value));
      case DType::f64:
        return put(i, value);
      case DType::i32:
        return put(i, static_cast<std::int32_t>(value));
      case DType::i64:
        return put(i, static_cast<std::int64_t>(value));
      default: {
        auto const f = static_cast<float>(value);
        std::uint32_t u;
        std::memcpy(&u, &f, sizeof u);
        return put(i, static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16));
      }
    }
  }

  /// Nothing was written outside.
  bool guarded() const {
    auto const intact = [](unsigned char c) { return c == 0xA5; };
    return std::all_of(bytes_.begin(), bytes_.begin() + guard, intact) &&
           std::all_of(bytes_.end() - guard, bytes_.end(), intact);
  }
  friend bool operator==(Tensor const& a, Tensor const& b) { return a.spec_ == b.spec_ && a.bytes_ == b.bytes_; }

 private:
  static constexpr std::size_t guard = 256;
  template <class T>
  T at(std::int64_t i) const {
    T value;
    std::memcpy(&value, static_cast<char const*>(data()) + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
  template <class T>
  void put(std::int64_t i, T value) {
    std::memcpy(static_cast<char*>(data()) + i * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
  }

  TensorSpec spec_;
  std::vector<unsigned char> bytes_;
};

/// |a - b| <= rel * |b| + absolute everywhere; the message names the worst element.
inline ::testing::AssertionResult all_near(Tensor const& a, Tensor const& b, double rel, double absolute = 0) {
  if (!(a.spec() == b.spec())) return ::testing::AssertionFailure() << text(a.spec(), " against ", b.spec());
  if (!a.guarded()) return ::testing::AssertionFailure() << "bytes outside of the tensor were written";
  double worst = 0;
  std::int64_t where = -1;
  for (std::int64_t i = 0; i < a.spec().count(); ++i) {
    double const x = a.get(i), y = b.get(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    double const excess = std::abs(x - y) / (rel * std::abs(y) + absolute);
    if (!(excess <= 1) && !(excess <= worst)) worst = excess, where = i;
  }
  if (where < 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "element " << where << " of " << text(a.spec()) << ": " << a.get(where)
                                       << " against " << b.get(where) << ", " << worst << " times the tolerance";
}

/// Tolerance of a result stored in `t`: a few roundings in f32, one in bf16.
inline double rounding(DType t) { return t == DType::bf16 ? 1.0 / 128 : 1e-5; }

/// Runs f with one and with two threads; f returns tensors, which must be equal in every bit.
template <class F>
void expect_same_bits_on_one_and_two_threads(F const& f) {
  kernels::set_threads(1);
  auto const one = f();
  kernels::set_threads(2);
  auto const two = f();
  EXPECT_TRUE(one == two);
}

/// Entries [first, first + count) of dim `dim` as a tensor of its own.
inline Tensor cut(Tensor const& t, int dim, std::int64_t first, std::int64_t count) {
  auto shape = t.spec().shape;
  auto const inner = shape.count(dim + 1, shape.ndim()), extent = shape[dim];
  shape[dim] = count;
  Tensor part(t.spec().dtype, shape);
  for (std::int64_t i = 0; i < part.spec().count(); ++i) {
    part.set(i, t.get((i / inner / count * extent + first + i / inner % count) * inner + i % inner));
  }
  return part;
}

}  // namespace lamina::test
