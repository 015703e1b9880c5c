#include "lamina/io/agree.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::io {
namespace {

std::optional<Error> attempt(std::function<void()> const& work) {
  try {
    work();
    return std::nullopt;
  } catch (Error const& e) {
    return e;
  } catch (std::exception const& e) {
    return Error({.code = "io.agree.exception",
                  .subject = "file work",
                  .found = e.what(),
                  .expected = "no exception",
                  .fix = "free memory if it ran out; otherwise report this as a bug with the log"});
  }
}

std::string pack(Error const& error) {
  std::string bytes;
  auto const& e = error.info();
  for (auto const* s : {&e.code, &e.subject, &e.found, &e.expected, &e.fix, &error.place()}) {
    std::uint64_t const length = s->size();
    bytes.append(reinterpret_cast<char const*>(&length), sizeof length).append(*s);
  }
  return bytes;
}

/// `prefix` goes before the subject.
Error unpack(std::string const& bytes, std::string const& prefix) {
  std::array<std::string, 6> parts;
  std::size_t at = 0;
  for (auto& part : parts) {
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, sizeof length);
    part = bytes.substr(at + sizeof length, length);
    at += sizeof length + length;
  }
  return {{.code = parts[0], .subject = prefix + parts[1], .found = parts[2], .expected = parts[3], .fix = parts[4]},
          parts[5]};
}

}  // namespace

void agree(comm::Communicator const& world, std::function<void()> const& work) {
  auto const mine = attempt(work);
  int const n = world.size();
  auto const first = world.all_min(mine ? world.rank() : n);
  if (first == n) return;
  auto bytes = mine ? pack(*mine) : std::string();
  world.broadcast_bytes(bytes, static_cast<int>(first));
  throw unpack(bytes, n > 1 ? text("rank ", first, ": ") : "");
}

}  // namespace lamina::io
