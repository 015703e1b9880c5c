#pragma once

#include <cstdint>
#include <iosfwd>

#include "lamina/tensor/dtype.hpp"
#include "lamina/tensor/shape.hpp"

namespace lamina {

/// What a tensor is, without its memory.
struct TensorSpec {
  DType dtype = DType::f32;
  Shape shape;

  std::int64_t count() const { return shape.count(); }
  std::int64_t bytes() const { return count() * sizeof_dtype(dtype); }
  friend bool operator==(TensorSpec const&, TensorSpec const&) = default;
};

std::ostream& operator<<(std::ostream& out, TensorSpec const& s);  ///< "f32[2, 3]"

/// A non-owning view of contiguous row-major memory. `data` may be null when count() == 0 or when an
/// optional argument is absent.
struct TensorRef {
  void* data = nullptr;
  TensorSpec spec;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
};

}  // namespace lamina
