#include "lamina/tensor/shape.hpp"

#include <algorithm>
#include <ostream>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina {

Shape::Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}

Shape::Shape(std::span<std::int64_t const> extents) {
  for (auto const e : extents) push_back(e);
}

void Shape::push_back(std::int64_t extent) {
  if (ndim_ == max_dims || extent < 0) {
    fail({.code = "tensor.shape.dims",
          .subject = "a tensor shape",
          .found = text("dim ", ndim_, " of extent ", extent),
          .expected = text("at most ", max_dims, " dims, none negative"),
          .fix = "merge dims, or correct the sizes of the model"});
  }
  extents_[static_cast<std::size_t>(ndim_++)] = extent;
}

std::int64_t Shape::count() const { return count(0, ndim_); }

std::int64_t Shape::count(int first, int last) const {
  std::int64_t n = 1;
  for (int d = first; d < last; ++d) {
    if (__builtin_mul_overflow(n, (*this)[d], &n) || n > (std::int64_t{1} << 62)) {
      fail({.code = "tensor.shape.overflow",
            .subject = text("the shape ", *this),
            .found = "more than 2^62 elements",
            .expected = "a tensor that memory could hold",
            .fix = "correct the sizes of the model"});
    }
  }
  return n;
}

bool operator==(Shape const& a, Shape const& b) { return std::ranges::equal(a.extents(), b.extents()); }

std::ostream& operator<<(std::ostream& out, Shape const& s) { return out << '[' << join(s.extents()) << ']'; }

}  // namespace lamina
