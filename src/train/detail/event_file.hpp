#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace lamina::train::detail {

/// CRC-32C (Castagnoli).
std::uint32_t crc32c(std::string const& bytes);

/// A TensorBoard event file: records of {length, masked CRC, Event, masked CRC}; scalars only, encoded by hand (the
/// protocol buffer has five fields). Appended and flushed; TensorBoard reads while it grows.
class EventFile {
 public:
  explicit EventFile(std::string const& directory);
  ~EventFile();
  EventFile(EventFile const&) = delete;
  EventFile& operator=(EventFile const&) = delete;

  void scalars(std::int64_t step, std::vector<std::pair<std::string, float>> const& values);

 private:
  void record(std::string const& event);
  std::FILE* file_ = nullptr;
};

}  // namespace lamina::train::detail
