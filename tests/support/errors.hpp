#pragma once

#include <gtest/gtest.h>

#include <string>

#include "lamina/base/error.hpp"

namespace lamina::test {

/// The Error that `f` throws; fails the test when it throws none.
template <class F>
ErrorInfo error_of(F const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.info();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {.code = "", .subject = "", .found = "", .expected = "", .fix = ""};
}

}  // namespace lamina::test
