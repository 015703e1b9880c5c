#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "lamina/base/text.hpp"

namespace lamina::test {

/// Compares with tests/golden/<path>; names the first line that differs. With LAMINA_UPDATE_GOLDEN=1 in the
/// environment the file is written instead: look at the diff before you commit it.
inline void expect_golden(std::string const& actual, std::string const& path) {
  auto const file = std::filesystem::path(LAMINA_SOURCE_DIR) / "tests/golden" / path;
  if (std::getenv("LAMINA_UPDATE_GOLDEN") != nullptr) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << actual;
    return;
  }
  std::ifstream in(file, std::ios::binary);
  ASSERT_TRUE(in) << file << " is missing; LAMINA_UPDATE_GOLDEN=1 writes it";
  std::ostringstream whole;
  whole << in.rdbuf();
  auto const expected = whole.str();
  if (expected == actual) return;
  auto const a = split(actual, '\n'), e = split(expected, '\n');
  for (std::size_t i = 0; i < std::max(a.size(), e.size()); ++i) {
    auto const got = i < a.size() ? a[i] : "(end)", want = i < e.size() ? e[i] : "(end)";
    if (got == want) continue;
    ADD_FAILURE() << path << ":" << i + 1 << "\n  is:     " << got << "\n  golden: " << want
                  << "\n  LAMINA_UPDATE_GOLDEN=1 rewrites the file";
    return;
  }
}

}  // namespace lamina::test
