#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "lamina/kernels/runtime.hpp"

namespace lamina::test {

/// One kernel thread a rank, for tests on several ranks; including this header is enough.
class KernelThread : public ::testing::Environment {
 public:
  void SetUp() override { runtime_.emplace(1); }
  void TearDown() override { runtime_.reset(); }

 private:
  std::optional<kernels::Runtime> runtime_;
};
inline ::testing::Environment* const kernel_thread =
    ::testing::AddGlobalTestEnvironment(std::make_unique<KernelThread>().release());

}  // namespace lamina::test
