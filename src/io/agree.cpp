#include "lamina/io/agree.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::io {
namespace {

std::optional<ErrorInfo> attempt(std::function<void()> const& work) {
  try {
    work();
    return std::nullopt;
  } catch (Error const& e) {
    return e.info();
  } catch (std::exception const& e) {
    return ErrorInfo{.code = "io.agree.exception",
                     .subject = "file work",
                     .found = e.what(),
                     .expected = "no exception",
                     .fix = "free memory if it ran out; otherwise report this as a bug with the log"};
  }
}

std::string pack(ErrorInfo const& e) {
  std::string bytes;
  for (auto const* s : {&e.code, &e.subject, &e.found, &e.expected, &e.fix}) {
    std::uint64_t const length = s->size();
    bytes.append(reinterpret_cast<char const*>(&length), sizeof length).append(*s);
  }
  return bytes;
}

ErrorInfo unpack(std::string const& bytes) {
  std::array<std::string, 5> parts;
  std::size_t at = 0;
  for (auto& part : parts) {
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, sizeof length);
    part = bytes.substr(at + sizeof length, length);
    at += sizeof length + length;
  }
  return {.code = parts[0], .subject = parts[1], .found = parts[2], .expected = parts[3], .fix = parts[4]};
}

}  // namespace

void agree(comm::Communicator const& world, std::function<void()> const& work) {
  auto const mine = attempt(work);
  int const n = world.size();
  auto const first = world.all_min(mine ? world.rank() : n);
  if (first == n) return;
  auto bytes = mine ? pack(*mine) : std::string();
  world.broadcast_bytes(bytes, static_cast<int>(first));
  auto error = unpack(bytes);
  if (n > 1) error.subject = text("rank ", first, ": ", error.subject);
  fail(std::move(error));
}

}  // namespace lamina::io
