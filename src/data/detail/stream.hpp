#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/detail/file.hpp"
#include "lamina/data/token_file.hpp"

namespace lamina::data::detail {

enum class Element : std::uint8_t { u8, i8, i16, u16, i32, u32, i64 };
std::int64_t bytes_of(Element e);
std::string_view name_of(Element e);

/// Tokens of one element type, one after the other, from `offset` on.
class StreamFile final : public TokenFile {
 public:
  StreamFile(std::shared_ptr<File> file, std::string format_name, Element element, std::int64_t offset,
             std::int64_t count);
  std::int64_t tokens() const override { return count_; }
  void read(std::int64_t first, std::int64_t count, std::int64_t vocab, std::int32_t* out) const override;

 private:
  std::shared_ptr<File> file_;
  Element element_;
  std::int64_t offset_, count_;
};

}  // namespace lamina::data::detail
