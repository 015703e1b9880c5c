#pragma once

#include <string>
#include <string_view>

/// What the writer and the reader of the text form share.
namespace lamina::program::detail {

inline constexpr std::string_view header_word = "lamina-program";
inline constexpr int format_version = 1;

/// Written without quotes: letters, digits and a few signs that mean nothing in the grammar.
inline bool is_bare(std::string_view s) {
  auto const plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_.-<>:/*+").find(c) != std::string_view::npos;
  };
  for (char const c : s) {
    if (!plain(c)) return false;
  }
  return !s.empty();
}

inline void append_quoted(std::string& out, std::string_view s) {
  constexpr char hex[] = "0123456789abcdef";
  out += '"';
  for (char const c : s) {
    auto const u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (u < 0x20 || u == 0x7f) {
      ((out += "\\x") += hex[u >> 4]) += hex[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace lamina::program::detail
