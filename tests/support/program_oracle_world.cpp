#include <algorithm>
#include <map>
#include <optional>

#include "lamina/base/text.hpp"
#include "support/program_oracle_order.hpp"

namespace lamina::test {

using namespace program;

namespace {

/// A communicator as a value: its name and its members.
using Comm = std::pair<std::string, std::vector<int>>;

struct WorldJudge {
  std::vector<ProgramSet const*> const& ranks;
  Verdict& verdict;

  Template const& shape(std::size_t r) const { return *ranks[r]->shape; }
  Comm comm(std::size_t r, int group) const {
    return {shape(r).groups[static_cast<std::size_t>(group)].name,
            ranks[r]->binding.members[static_cast<std::size_t>(group)]};
  }
  std::optional<int> find(std::size_t r, std::string const& name) const {
    for (std::size_t g = 0; g < shape(r).groups.size(); ++g) {
      if (shape(r).groups[g].name == name) return static_cast<int>(g);
    }
    return std::nullopt;
  }

  bool groups() {
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      for (std::size_t g = 0; g < shape(r).groups.size(); ++g) {
        auto const& mine = shape(r).groups[g];
        for (int const m : ranks[r]->binding.members[g]) {
          auto const other = find(static_cast<std::size_t>(m), mine.name);
          bool const agree = other &&
                             shape(static_cast<std::size_t>(m)).groups[static_cast<std::size_t>(*other)] == mine &&
                             comm(static_cast<std::size_t>(m), *other) == comm(r, static_cast<int>(g));
          // Either side may be named as the one that is wrong.
          if (!agree) verdict.findings.insert({"group_table", -1, "", -1});
        }
      }
    }
    return !verdict.has_rule("group_table");
  }

  static bool collective(Step const& s) {
    return s.kind != StepKind::kernel && s.kind != StepKind::copy && s.kind != StepKind::send &&
           s.kind != StepKind::recv;
  }

  /// Everything that both ends of a message, or all members of a collective, must say alike.
  std::string content(std::size_t r, Step const& s) const {
    bool const from_inputs = s.kind == StepKind::send || s.kind == StepKind::reduce_scatter;
    bool const rows = s.kind == StepKind::all_gather || s.kind == StepKind::reduce_scatter;
    auto const dim = rows ? s.attributes.integer("dim", 0) : 0;
    std::string out;
    for (int const id : from_inputs ? s.in : s.out) {
      auto const& b = shape(r).buffers[static_cast<std::size_t>(id)];
      out += text(b.spec.dtype, "/", b.spec.count(), " ");
      if (dim > 0) out += text(b.spec.shape, " ");
      if (!collective(s)) {
        out += text("'", b.name, "' ");
        continue;
      }
      out += b.role == Role::scratch ? std::string("scratch ") : text("'", b.name, "' ");
      switch (b.role) {
        case Role::parameter:
        case Role::gradient:
        case Role::moment1:
        case Role::moment2:
          out += text("as ", b.role, " ");
          break;
        default:
          break;
      }
    }
    if (!collective(s)) return out;
    out = text(static_cast<int>(s.kind), " ", out);
    if (s.kind == StepKind::all_reduce || s.kind == StepKind::reduce_scatter)
      out += s.attributes.string("reduce", "sum");
    if (rows) out += text("rows ", s.attributes.string("rows", ""), " of ", dim, s.attributes.integer("flat", 0));
    if (s.kind == StepKind::broadcast) out += text("root ", s.peer);
    return out;
  }

  /// What two sides must agree on, as lists keyed by who looks at what.
  bool matching(std::string const& name) {
    bool sound = true;
    std::map<std::pair<Comm, int>, std::vector<std::string>> collectives;           // by communicator and member
    std::map<std::tuple<Comm, int, int>, std::vector<std::string>> sent, received;  // by communicator, from, to
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      for (int g = 0; g < static_cast<int>(shape(r).groups.size()); ++g) collectives[{comm(r, g), static_cast<int>(r)}];
      auto const* p = shape(r).find_program(name);
      for (std::size_t i = 0; p && i < p->steps.size(); ++i) {
        auto const& s = p->steps[i];
        if (s.kind == StepKind::kernel || s.kind == StepKind::copy) continue;
        auto const c = comm(r, s.group);
        if (collective(s)) {
          collectives[{c, static_cast<int>(r)}].push_back(content(r, s));
        } else {
          int const peer = c.second[static_cast<std::size_t>(s.peer)];
          if (s.kind == StepKind::send) sent[{c, static_cast<int>(r), peer}].push_back(content(r, s));
          if (s.kind == StepKind::recv) received[{c, peer, static_cast<int>(r)}].push_back(content(r, s));
        }
      }
    }
    for (auto const& [key, list] : collectives) {
      for (auto const& [other_key, other] : collectives) {
        if (key.first != other_key.first || list == other) continue;
        sound = false;
        verdict.findings.insert({"collective", -1, name, -1});
      }
    }
    if (sent != received) {
      sound = false;
      verdict.findings.insert({"message", -1, name, -1});
    }
    return sound;
  }

  bool issue_order(std::string const& name) {
    bool sound = true;
    for (std::size_t a = 0; a < ranks.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        std::set<Comm> mine, common;
        for (int g = 0; g < static_cast<int>(shape(a).groups.size()); ++g) mine.insert(comm(a, g));
        for (int g = 0; g < static_cast<int>(shape(b).groups.size()); ++g) {
          bool const nccl = shape(b).groups[static_cast<std::size_t>(g)].transport == Transport::nccl;
          if (nccl && mine.contains(comm(b, g))) common.insert(comm(b, g));
        }
        auto const issued = [&](std::size_t r) {
          std::vector<Comm> out;
          auto const* p = shape(r).find_program(name);
          for (std::size_t i = 0; p && i < p->steps.size(); ++i) {
            if (collective(p->steps[i]) && common.contains(comm(r, p->steps[i].group)))
              out.push_back(comm(r, p->steps[i].group));
          }
          return out;
        };
        if (issued(a) == issued(b)) continue;
        sound = false;
        verdict.findings.insert({"issue_order", -1, name, -1});
      }
    }
    return sound;
  }

  /// Every communication step lays a token on the table of its meeting when it starts; the meeting is over when all
  /// expected tokens are there. Sweeps over all steps until a sweep changes nothing.
  void progress(std::string const& name) {
    struct Meeting {
      std::size_t expected = 0, arrived = 0;
    };
    struct State {
      std::size_t rank;
      int step;
      Step const* what;
      int before;  // previous step of the stream
      bool started = false, done = false;
      Meeting* meeting = nullptr;
    };
    using Key = std::tuple<Comm, int, int, int>;  // communicator, from, to (-1, -1: collective), how many before it
    std::map<Key, Meeting> meetings;
    std::vector<std::vector<State>> states(ranks.size());
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      auto const* p = shape(r).find_program(name);
      std::map<std::tuple<Comm, int, int>, int> counts;
      for (int i = 0; p && i < static_cast<int>(p->steps.size()); ++i) {
        auto const& s = p->steps[static_cast<std::size_t>(i)];
        State state{r, i, &s, -1};
        for (int k = 0; k < i; ++k) {
          if (p->steps[static_cast<std::size_t>(k)].stream == s.stream) state.before = k;
        }
        if (s.kind != StepKind::kernel && s.kind != StepKind::copy) {
          auto const c = comm(r, s.group);
          int from = -1, to = -1;
          if (!collective(s)) {
            int const peer = c.second[static_cast<std::size_t>(s.peer)], me = static_cast<int>(r);
            from = s.kind == StepKind::send ? me : peer, to = s.kind == StepKind::send ? peer : me;
          }
          state.meeting = &meetings[{c, from, to, counts[{c, from, to}]++}];
          state.meeting->expected = collective(s) ? c.second.size() : 2;
        }
        states[r].push_back(state);
      }
    }
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& list : states) {
        for (auto& s : list) {
          bool ready = s.before < 0 || list[static_cast<std::size_t>(s.before)].done;
          for (int const a : s.what->after) ready = ready && list[static_cast<std::size_t>(a)].done;
          if (!s.started && ready) {
            s.started = moved = true;
            if (s.meeting) ++s.meeting->arrived;
          }
          if (s.started && !s.done && (!s.meeting || s.meeting->arrived == s.meeting->expected)) s.done = moved = true;
        }
      }
    }
    for (auto const& list : states) {
      for (auto const& s : list) {
        if (!s.done) verdict.findings.insert({"deadlock", static_cast<int>(s.rank), name, s.step});
      }
    }
  }
};

}  // namespace

void judge_world(std::vector<ProgramSet const*> const& ranks, Verdict& verdict) {
  WorldJudge world{ranks, verdict};
  if (!world.groups()) return;
  std::set<std::string> names;
  for (auto const* set : ranks) {
    for (auto const& p : set->shape->programs) names.insert(p.name);
  }
  for (auto const& name : names) {
    if (world.matching(name) && world.issue_order(name)) world.progress(name);
  }
}

}  // namespace lamina::test
