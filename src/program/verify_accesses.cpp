#include <algorithm>
#include <array>
#include <map>

#include "program/detail/verify.hpp"

namespace lamina::program::detail {
namespace {

/// What the steps of one stream did with one buffer so far.
struct Use {
  int stream, first, last, last_write;
  int next;  // of the same buffer, by another stream; -1: the last one
};

/// Of every buffer one use per stream that touched it: nearly always one or two. They lie in one array.
class Uses {
 public:
  explicit Uses(std::size_t buffers) : head_(buffers, -1) {}

  bool any(int buffer) const { return head_[static_cast<std::size_t>(buffer)] >= 0; }
  void record(int buffer, int stream, int step, bool writes) {
    int* at = &head_[static_cast<std::size_t>(buffer)];
    while (*at >= 0 && use(*at).stream != stream) at = &use(*at).next;
    if (*at < 0) {
      *at = static_cast<int>(all_.size());  // before the array moves
      all_.push_back({stream, step, step, -1, -1});
      at = nullptr;
    }
    auto& u = at ? use(*at) : all_.back();
    u.last = step;
    if (writes) u.last_write = step;
  }
  /// Calls f with each use of a buffer until it returns false.
  template <class F>
  void each(int buffer, F const& f) const {
    for (int u = head_[static_cast<std::size_t>(buffer)]; u >= 0; u = all_[static_cast<std::size_t>(u)].next) {
      if (!f(all_[static_cast<std::size_t>(u)])) return;
    }
  }

 private:
  Use& use(int u) { return all_[static_cast<std::size_t>(u)]; }

  std::vector<int> head_;  // by buffer
  std::vector<Use> all_;
};

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
        if (a.reads) check_read(step, a.buffer);
        if (a.writes) check_write(step, a);
        uses_.record(a.buffer, order_.stream(step), step, a.writes);
      }
    }
    check_shared_bytes();
  }

 private:
  std::string step_name(int step) const { return describe_step(p_, step); }

  void check_read(int step, int buffer) {
    bool written = t_.buffers[static_cast<std::size_t>(buffer)].program == -1;
    uses_.each(buffer, [&](Use const& u) {
      if (u.last_write < 0) return true;
      written = true;
      if (order_.before(u.last_write, step)) return true;
      report_.add_step("unordered_read", p_, step, "reads buffer ", describe_buffer(t_, buffer),
                       " without waiting for ", step_name(u.last_write), ", which writes it");
      return true;
    });
    if (!written) {
      report_.add_step("read_before_write", p_, step, "reads buffer ", describe_buffer(t_, buffer),
                       " before any step of the program has written it");
    }
  }

  void check_write(int step, Access const& a) {
    uses_.each(a.buffer, [&](Use const& u) {
      if (order_.before(u.last, step)) return true;
      if (a.reads && u.last == u.last_write) return true;  // reported as a read already
      report_.add_step("unordered_write", p_, step, "writes buffer ", describe_buffer(t_, a.buffer),
                       " without waiting for ", step_name(u.last), ", which ",
                       u.last == u.last_write ? "writes" : "reads", " it");
      return true;
    });
  }

  /// Every use of `a` happens before every use of `b`; otherwise the pair of steps that shows it.
  std::optional<std::pair<int, int>> find_unordered(int a, int b) const {
    std::optional<std::pair<int, int>> found;
    uses_.each(b, [&](Use const& ub) {
      uses_.each(a, [&](Use const& ua) {
        if (!order_.before(ua.last, ub.first)) found = std::pair{ua.last, ub.first};
        return !found;
      });
      return !found;
    });
    return found;
  }

  /// Buffers in the order of their first use; a map of each arena knows who used each range of bytes last. Because
  /// "all uses of A before all uses of B" is transitive, only neighbours in that order need a comparison.
  void check_shared_bytes() {
    std::vector<std::pair<int, int>> by_first_use;
    for (int id = 0; id < static_cast<int>(t_.buffers.size()); ++id) {
      auto const& b = t_.buffers[static_cast<std::size_t>(id)];
      if (b.program != index_ || b.bytes == 0 || !uses_.any(id)) continue;
      int first = static_cast<int>(p_.steps.size());
      uses_.each(id, [&](Use const& u) {
        first = std::min(first, u.first);
        return true;
      });
      by_first_use.emplace_back(first, id);
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
  Uses uses_;
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
