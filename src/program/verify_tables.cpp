#include <map>
#include <set>

#include "program/detail/verify.hpp"

namespace lamina::program::detail {
namespace {

constexpr std::int64_t alignment = 64;  // bytes; a cache line, and what vector loads want

bool check_buffer(Template const& t, int id, Reporter& report) {
  auto const& b = t.buffers[static_cast<std::size_t>(id)];
  auto const name = [&] { return text("buffer ", describe_buffer(t, id)); };
  bool sound = true;
  auto const wrong = [&](std::string_view rule, auto const&... message) {
    report.add(rule, name(), message...);
    sound = false;
  };
  if (b.program < -1 || b.program >= static_cast<int>(t.programs.size())) {
    wrong("id", " belongs to program ", b.program, ", and there are ", t.programs.size());
  } else if (is_persistent(b.role) != (b.program == -1)) {
    wrong("lifetime", " has role ", b.role, ", which lives ", is_persistent(b.role) ? "over" : "inside one of",
          " the programs, but program ", b.program, " (-1: all)");
  }
  auto const needed = bytes_of(b.spec);
  if (!needed || b.bytes < *needed) {
    wrong("bytes", " has ", b.bytes, " bytes for ", b.spec, ", which needs ",
          needed ? text(*needed) : std::string("more than 2^62"));
  }
  if (b.offset % alignment != 0) wrong("alignment", " is at offset ", b.offset, ", not a multiple of ", alignment);
  auto const arena = t.arena_bytes[static_cast<std::size_t>(b.space)];
  if (b.offset < 0 || b.bytes < 0 || b.bytes > arena || b.offset > arena - b.bytes) {
    wrong("arena", " takes ", b.bytes, " bytes at offset ", b.offset, " of the ", name_of(b.space), " arena of ",
          arena);
  }
  return sound;
}

bool check_streams(Template const& t, Program const& p, Reporter& report) {
  bool sound = true;
  auto const wrong = [&](std::string_view rule, auto const&... message) {
    report.add_program(rule, p, message...);
    sound = false;
  };
  if (p.streams.empty() || p.streams[0].name != "compute") wrong("stream", "stream 0 is not 'compute'");
  std::set<std::string_view> names;
  for (auto const& s : p.streams) {
    if (!names.insert(s.name).second) wrong("name", "two streams are called '", s.name, "'");
    if (s.group < -1 || s.group >= static_cast<int>(t.groups.size())) {
      wrong("id", "stream '", s.name, "' is for group ", s.group, ", and there are ", t.groups.size());
    } else if (s.group == -1 ? s.name != "compute" && s.name != "copy"
                             : s.name != text("comm.", t.groups[static_cast<std::size_t>(s.group)].name)) {
      wrong("stream", "stream '", s.name, "' ",
            s.group == -1 ? std::string("has no group; 'compute' and 'copy' are the streams without one")
                          : text("serves group '", t.groups[static_cast<std::size_t>(s.group)].name,
                                 "'; it must be called 'comm.' and the group's name"));
    }
  }
  return sound;
}

}  // namespace

std::optional<std::int64_t> bytes_of(TensorSpec const& spec) {
  std::int64_t n = sizeof_dtype(spec.dtype);
  bool empty = false;
  for (auto const e : spec.shape.extents()) empty = empty || e == 0;
  if (empty) return 0;
  for (auto const e : spec.shape.extents()) {
    if (__builtin_mul_overflow(n, e, &n) || n > (std::int64_t{1} << 62)) return std::nullopt;
  }
  return n;
}

bool check_tables(Template const& t, Reporter& report) {
  if (t.arena_bytes.size() != 4) {
    report.add("arena", "there are ", t.arena_bytes.size(), " arenas; one per space is 4");
    return false;
  }
  bool sound = true;
  for (std::size_t i = 0; i < 4; ++i) {
    if (t.arena_bytes[i] < 0) {
      report.add("arena", "the ", name_of(static_cast<Space>(i)), " arena has ", t.arena_bytes[i], " bytes");
      sound = false;
    }
  }
  std::set<std::string_view> groups, programs;
  for (auto const& g : t.groups) {
    if (groups.insert(g.name).second) continue;
    report.add("name", "two groups are called '", g.name, "'");
    sound = false;
  }
  for (auto const& p : t.programs) {
    if (!programs.insert(p.name).second) {
      report.add("name", "two programs are called '", p.name, "'");
      sound = false;
    }
    sound = check_streams(t, p, report) && sound;
  }
  std::map<std::pair<std::string_view, Role>, int> persistent;
  for (int id = 0; id < static_cast<int>(t.buffers.size()); ++id) {
    sound = check_buffer(t, id, report) && sound;
    auto const& b = t.buffers[static_cast<std::size_t>(id)];
    if (b.program != -1) continue;
    auto const [at, is_new] = persistent.try_emplace({b.name, b.role}, id);
    if (is_new) continue;
    report.add("name", "buffers ", describe_buffer(t, at->second), " and ", describe_buffer(t, id),
               " have one name and role, ", b.role);
    sound = false;
  }
  return sound;
}

}  // namespace lamina::program::detail
