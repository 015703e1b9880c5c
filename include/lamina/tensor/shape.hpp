#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace lamina {

/// The extents of up to 6 dims, outermost first; contiguous row-major wherever memory is involved.
/// A value type without heap memory. A scalar has ndim() == 0 and count() == 1.
class Shape {
 public:
  static constexpr int max_dims = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<std::int64_t const> extents);

  int ndim() const { return ndim_; }
  std::int64_t operator[](int dim) const { return extents_[static_cast<std::size_t>(dim)]; }
  std::int64_t& operator[](int dim) { return extents_[static_cast<std::size_t>(dim)]; }
  std::int64_t back() const { return (*this)[ndim_ - 1]; }
  /// Number of elements. @throws Error "tensor.shape.overflow" beyond 2^62.
  std::int64_t count() const;
  /// Product of dims [first, last).
  std::int64_t count(int first, int last) const;
  std::span<std::int64_t const> extents() const { return {extents_.data(), static_cast<std::size_t>(ndim_)}; }
  void push_back(std::int64_t extent);

  friend bool operator==(Shape const& a, Shape const& b);

 private:
  std::array<std::int64_t, max_dims> extents_{};
  int ndim_ = 0;
};

std::ostream& operator<<(std::ostream& out, Shape const& s);  ///< "[2, 3]"

}  // namespace lamina
