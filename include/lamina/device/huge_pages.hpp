#pragma once

#include <cstdint>

namespace lamina::device {

/// Bytes of a huge page of x86-64.
inline constexpr std::int64_t huge_page = std::int64_t{2} << 20;

/// Addresses for `bytes`, a multiple of `huge_page`, the first of them on a huge page, without memory behind them: for
/// mmap with MAP_FIXED. Null, with errno set, when the system refuses.
char* reserve_huge_pages(std::int64_t bytes);

}  // namespace lamina::device
