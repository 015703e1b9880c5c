#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>

namespace lamina {

/// Element types. bf16 is the upper half of an f32, stored as u16.
enum class DType : std::uint8_t { f32, bf16, f64, i32, i64, u8, u16, u32 };

std::int64_t sizeof_dtype(DType t);                      ///< bytes of one element
std::string_view name_of(DType t);                       ///< "f32"
std::optional<DType> find_dtype(std::string_view name);  ///< inverse of name_of
std::ostream& operator<<(std::ostream& out, DType t);

}  // namespace lamina
