#include <algorithm>
#include <array>
#include <map>

#include "program/detail/verify.hpp"

namespace lamina::program::detail {
namespace {

/// What the steps of one stream did with one buffer so far.
struct Use {
  int stream, first, last, last_write;
};
using Uses = std::vector<Use>;  // one per stream that touched the buffer: nearly always one or two

struct Access {
  int buffer;
  bool reads, writes;
};

void add_access(std::vector<Access>& list, int buffer, bool reads, bool writes) {
  for (auto& a : list) {
    if (a.buffer != buffer) continue;
    a.reads = a.reads || reads;
    a.writes = a.writes || writes;
    return;
  }
  list.push_back({buffer, reads, writes});
}

void collect(Step const& s, std::vector<Access>& list) {
  list.clear();
  std::int64_t const accumulated = s.kind == StepKind::kernel ? s.attributes.integer("accumulate", 0) : 0;
  for (int const b : s.in) add_access(list, b, true, false);
  for (std::size_t o = 0; o < s.out.size(); ++o) {
    bool const adds = o < 63 && ((accumulated >> o) & 1) != 0;  // adding reads what is there
    add_access(list, s.out[o], adds, true);
  }
}

class AccessCheck {
 public:
  AccessCheck(Template const& t, Program const& p, int index, Reporter& report)
      : t_(t), p_(p), index_(index), report_(report), order_(p), uses_(t.buffers.size()) {}

  void run() {
    std::vector<Access> accesses;
    for (int step = 0; step < static_cast<int>(p_.steps.size()); ++step) {
      collect(p_.steps[static_cast<std::size_t>(step)], accesses);
      for (auto const& a : accesses) {
        auto& uses = uses_[static_cast<std::size_t>(a.buffer)];
        if (a.reads) check_read(step, a.buffer, uses);
        if (a.writes) check_write(step, a, uses);
        record(step, a, uses);
      }
    }
    check_shared_bytes();
  }

 private:
  std::string step_name(int step) const { return describe_step(p_, step); }

  void check_read(int step, int buffer, Uses const& uses) {
    bool written = t_.buffers[static_cast<std::size_t>(buffer)].program == -1;
    for (auto const& u : uses) {
      if (u.last_write < 0) continue;
      written = true;
      if (order_.before(u.last_write, step)) continue;
      report_.add_step("unordered_read", p_, step, "reads buffer ", describe_buffer(t_, buffer),
                       " without waiting for ", step_name(u.last_write), ", which writes it");
    }
    if (!written) {
      report_.add_step("read_before_write", p_, step, "reads buffer ", describe_buffer(t_, buffer),
                       " before any step of the program has written it");
    }
  }

  void check_write(int step, Access const& a, Uses const& uses) {
    for (auto const& u : uses) {
      if (order_.before(u.last, step)) continue;
      if (a.reads && u.last == u.last_write) continue;  // reported as a read already
      report_.add_step("unordered_write", p_, step, "writes buffer ", describe_buffer(t_, a.buffer),
                       " without waiting for ", step_name(u.last), ", which ",
                       u.last == u.last_write ? "writes" : "reads", " it");
    }
  }

  void record(int step, Access const& a, Uses& uses) {
    auto at = std::ranges::find(uses, order_.stream(step), &Use::stream);
    if (at == uses.end()) at = uses.insert(at, {order_.stream(step), step, step, -1});
    at->last = step;
    if (a.writes) at->last_write = step;
  }

  /// Every use of `a` happens before every use of `b`; otherwise the pair of steps that shows it.
  std::optional<std::pair<int, int>> find_unordered(int a, int b) const {
    for (auto const& ub : uses_[static_cast<std::size_t>(b)]) {
      for (auto const& ua : uses_[static_cast<std::size_t>(a)]) {
        if (!order_.before(ua.last, ub.first)) return std::pair{ua.last, ub.first};
      }
    }
    return std::nullopt;
  }

  /// Buffers in the order of their first use; a map of each arena knows who used each range of bytes last. Because
  /// "all uses of A before all uses of B" is transitive, only neighbours in that order need a comparison.
  void check_shared_bytes() {
    std::vector<std::pair<int, int>> by_first_use;
    for (int id = 0; id < static_cast<int>(t_.buffers.size()); ++id) {
      auto const& b = t_.buffers[static_cast<std::size_t>(id)];
      auto const& uses = uses_[static_cast<std::size_t>(id)];
      if (b.program != index_ || b.bytes == 0 || uses.empty()) continue;
      by_first_use.emplace_back(std::ranges::min(uses, {}, &Use::first).first, id);
    }
    std::ranges::sort(by_first_use);
    for (auto const& [first, id] : by_first_use) take_range(id);
  }

  void take_range(int id) {
    auto const& b = t_.buffers[static_cast<std::size_t>(id)];
    auto& ranges = ranges_[static_cast<std::size_t>(b.space)];
    auto const begin = b.offset, end = b.offset + b.bytes;
    auto at = ranges.upper_bound(begin);
    if (at != ranges.begin() && std::prev(at)->second.end > begin) --at;
    int compared = -1;
    while (at != ranges.end() && at->first < end) {
      auto const [range_begin, range] = *at;
      if (range.buffer != compared) compare(range.buffer, id), compared = range.buffer;
      at = ranges.erase(at);
      if (range_begin < begin) ranges.emplace(range_begin, Range{begin, range.buffer});
      if (range.end > end) ranges.emplace(end, Range{range.end, range.buffer});
    }
    ranges.emplace(begin, Range{end, id});
  }

  void compare(int earlier, int later) {
    auto const pair = find_unordered(earlier, later);
    if (!pair) return;
    auto const place = [&](int id) {
      auto const& b = t_.buffers[static_cast<std::size_t>(id)];
      return text(describe_buffer(t_, id), " [", b.offset, ", ", b.offset + b.bytes, ")");
    };
    report_.add_step("overlap", p_, pair->second, "uses buffer ", place(later), ", which shares ",
                     name_of(t_.buffers[static_cast<std::size_t>(later)].space), " bytes with ", place(earlier),
                     ", and ", step_name(pair->first), " of that one does not happen before");
  }

  struct Range {
    std::int64_t end;
    int buffer;
  };

  Template const& t_;
  Program const& p_;
  int index_;
  Reporter& report_;
  Order order_;
  std::vector<Uses> uses_;
  std::array<std::map<std::int64_t, Range>, 4> ranges_;
};

}  // namespace

void check_accesses(Template const& shape, Program const& program, int index, Reporter& report) {
  AccessCheck(shape, program, index, report).run();
}

void check_persistent(Template const& t, Reporter& report) {
  for (int space = 0; space < 4; ++space) {
    std::vector<std::pair<std::int64_t, int>> persistent, transient;  // by offset
    for (int id = 0; id < static_cast<int>(t.buffers.size()); ++id) {
      auto const& b = t.buffers[static_cast<std::size_t>(id)];
      if (static_cast<int>(b.space) != space || b.bytes == 0) continue;
      (b.program == -1 ? persistent : transient).emplace_back(b.offset, id);
    }
    std::ranges::sort(persistent);
    auto const end_of = [&](int id) {
      auto const& b = t.buffers[static_cast<std::size_t>(id)];
      return b.offset + b.bytes;
    };
    auto const clash = [&](int a, int b) {
      report.add("overlap", "persistent buffer ", describe_buffer(t, a), " shares ", name_of(static_cast<Space>(space)),
                 " bytes with buffer ", describe_buffer(t, b), " from offset ",
                 t.buffers[static_cast<std::size_t>(b)].offset);
    };
    int widest = -1;  // among those before, the one that ends last
    for (auto const& [offset, id] : persistent) {
      if (widest >= 0 && end_of(widest) > offset) clash(widest, id);
      if (widest < 0 || end_of(id) > end_of(widest)) widest = id;
    }
    for (auto const& [offset, id] : transient) {
      auto const after = std::ranges::lower_bound(persistent, std::pair{end_of(id), -1});
      if (after == persistent.begin()) continue;
      if (auto const before = std::prev(after)->second; end_of(before) > offset) clash(before, id);
    }
  }
}

bool check_template(Template const& shape, Reporter& report) {
  if (!check_tables(shape, report)) return false;
  check_persistent(shape, report);
  bool sound = true;
  for (int i = 0; i < static_cast<int>(shape.programs.size()); ++i) {
    auto const& p = shape.programs[static_cast<std::size_t>(i)];
    if (check_steps(shape, p, i, report)) {
      check_accesses(shape, p, i, report);
    } else {
      sound = false;
    }
  }
  return sound;
}

}  // namespace lamina::program::detail
