#include "train/detail/event_file.hpp"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::train::detail {
namespace {

constexpr auto crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ (c & 1 ? 0x82F63B78u : 0u);
    table[i] = c;
  }
  return table;
}();

std::uint32_t masked(std::string const& bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<char const*>(&value), sizeof value);
}

// Protocol buffer pieces: a tag is field << 3 | wire type; 0 varint, 1 64-bit, 2 length-delimited, 5 32-bit.
void varint(std::string& out, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<char>(v | 0x80));
  out.push_back(static_cast<char>(v));
}

void bytes_field(std::string& out, int field, std::string const& content) {
  varint(out, static_cast<std::uint64_t>(field) << 3 | 2);
  varint(out, content.size());
  out += content;
}

std::string event_of_now() {
  std::string event;
  auto const now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  varint(event, 1 << 3 | 1);  // wall_time = 1
  append(event, now);
  return event;
}

}  // namespace

std::uint32_t crc32c(std::string const& bytes) {
  std::uint32_t c = 0xFFFFFFFFu;
  for (unsigned char const b : bytes) c = (c >> 8) ^ crc_table[(c ^ b) & 0xFF];
  return ~c;
}

EventFile::EventFile(std::string const& directory) {
  std::filesystem::create_directories(directory);
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  char seconds[16];
  std::snprintf(seconds, sizeof seconds, "%010lld", static_cast<long long>(std::time(nullptr)));
  auto const path = text(directory, "/events.out.tfevents.", seconds, ".", host.data(), ".", ::getpid(), ".0");
  file_ = std::fopen(path.c_str(), "ab");
  if (!file_) {
    fail({.code = "io.run_dir.open",
          .subject = text("event file '", path, "'"),
          .found = std::strerror(errno),
          .expected = "a directory that can be written",
          .fix = "check run.dir, or set log.tensorboard = false"});
  }
  auto event = event_of_now();
  bytes_field(event, 3, "brain.Event:2");  // file_version = 3
  record(event);
}

EventFile::~EventFile() { std::fclose(file_); }

void EventFile::record(std::string const& event) {
  std::string length, out;
  append(length, static_cast<std::uint64_t>(event.size()));
  out = length;
  append(out, masked(length));
  out += event;
  append(out, masked(event));
  std::fwrite(out.data(), 1, out.size(), file_);
  std::fflush(file_);
}

void EventFile::scalars(std::int64_t step, std::vector<std::pair<std::string, float>> const& values) {
  std::string summary;
  for (auto const& [tag, value] : values) {
    std::string one;
    bytes_field(one, 1, tag);  // tag = 1
    varint(one, 2 << 3 | 5);   // simple_value = 2
    append(one, value);
    bytes_field(summary, 1, one);  // Summary.value = 1
  }
  auto event = event_of_now();
  varint(event, 2 << 3 | 0);  // step = 2
  varint(event, static_cast<std::uint64_t>(step));
  bytes_field(event, 5, summary);  // summary = 5
  record(event);
}

}  // namespace lamina::train::detail
