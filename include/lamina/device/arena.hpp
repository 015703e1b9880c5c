#pragma once

#include <cstdint>
#include <string>

namespace lamina::device {

/// One block of memory for all buffers of a space; anonymous pages, huge ones advised from 2 MiB on, zero-filled by the
/// system on first touch, released on destruction.
/// @throws Error "device.memory.arena" when the system refuses.
class Arena {
 public:
  Arena() = default;
  explicit Arena(std::int64_t bytes);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(Arena const&) = delete;
  Arena& operator=(Arena const&) = delete;

  void* at(std::int64_t offset) const { return static_cast<char*>(data_) + offset; }
  std::int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace lamina::device
