#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/config/run_config.hpp"

namespace lamina::test {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

/// The smallest run file; `model`, `more` go to the end of [model] and of the file.
inline std::string minimal(std::string const& more = "", std::string const& model = "") {
  return "[run]\ndir = \"runs/x\"\n[model]\nkind = \"gpt\"\nlayers = 2\nhidden = 12\nheads = 3\n" + model +
         "[data]\nkind = \"text\"\ntrain = [\"a.txt\"]\n" + more;
}

/// The whole message of parsing, "" when it is accepted.
inline std::string problems(std::string const& text, std::vector<std::string> const& overrides = {},
                            std::vector<config::CustomModel> const& custom = {}) {
  try {
    config::parse(text, "run.toml", overrides, custom);
  } catch (Error const& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage) << e.what();
    return e.what();
  }
  return "";
}

/// The problem of one line added to the minimal file as [section] + line.
inline std::string problem_of(std::string const& section, std::string const& line) {
  if (section == "model" || section == "data" || section == "run") {
    auto file = minimal();
    auto const header = "[" + section + "]\n";
    return problems(file.insert(file.find(header) + header.size(), line + "\n"));
  }
  return problems(minimal("[" + section + "]\n" + line + "\n"));
}

}  // namespace lamina::test
