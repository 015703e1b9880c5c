#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lamina::device {

/// Memory that other processes of this user can map: /proc/PID/fd/`file`.
struct SharedBlock {
  std::uint64_t base = 0;  ///< address in this process
  std::int64_t bytes = 0;  ///< whole huge pages
  std::int64_t file = -1;
  std::uint64_t inode = 0;  ///< tells the file from a later one of the same number
  bool operator==(SharedBlock const&) const = default;
};

/// One block of memory for all buffers of a space, zero-filled, released on destruction: anonymous pages, huge ones
/// advised from 2 MiB on, each on the NUMA node of whoever touches it first; shared ones on that of their maker.
/// @throws Error "device.memory.arena" when the system refuses.
class Arena {
 public:
  enum class Sharing { none, neighbours };

  Arena() = default;
  /// `Sharing::neighbours`: in huge pages that other processes can map, committed at once, where the system has such
  /// (Linux 6.1: MADV_COLLAPSE) and the arena has at least one; otherwise as without.
  explicit Arena(std::int64_t bytes, Sharing sharing = Sharing::none);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(Arena const&) = delete;
  Arena& operator=(Arena const&) = delete;

  void* at(std::int64_t offset) const { return static_cast<char*>(data_) + offset; }
  std::int64_t bytes() const { return bytes_; }
  /// The living shared arena of this process that has an address. Any thread.
  static std::optional<SharedBlock> shared_block_of(void const* address);

 private:
  bool map_shared();
  void unmap();

  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  int file_ = -1;
};

}  // namespace lamina::device
