#include "lamina/tensor/tensor.hpp"

#include <array>
#include <ostream>
#include <utility>

namespace lamina {
namespace {

struct DTypeRow {
  DType type;
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array<DTypeRow, 8> dtypes{{{DType::f32, "f32", 4},
                                          {DType::bf16, "bf16", 2},
                                          {DType::f64, "f64", 8},
                                          {DType::i32, "i32", 4},
                                          {DType::i64, "i64", 8},
                                          {DType::u8, "u8", 1},
                                          {DType::u16, "u16", 2},
                                          {DType::u32, "u32", 4}}};

DTypeRow const& row(DType t) { return dtypes[static_cast<std::size_t>(t)]; }

}  // namespace

std::int64_t sizeof_dtype(DType t) { return row(t).bytes; }
std::string_view name_of(DType t) { return row(t).name; }

std::optional<DType> find_dtype(std::string_view name) {
  for (auto const& r : dtypes) {
    if (r.name == name) return r.type;
  }
  return std::nullopt;
}

std::ostream& operator<<(std::ostream& out, DType t) { return out << name_of(t); }
std::ostream& operator<<(std::ostream& out, TensorSpec const& s) { return out << s.dtype << s.shape; }

}  // namespace lamina
