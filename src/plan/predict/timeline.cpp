// The programs of a plan in time, by a model of the machine.
#include "plan/detail/timeline.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/tensor/reduction.hpp"
#include "plan/detail/pass.hpp"

namespace lamina::plan {
namespace {

using program::StepKind;
using Index = std::size_t;
constexpr std::int64_t unknown = -1;

bool is_message(StepKind kind) { return kind == StepKind::send || kind == StepKind::recv; }

/// One rank per pp coordinate, each with its streams; a step of a group that has members at several coordinates starts
/// when all of these have come to it.
class Player {
 public:
  Player(Plan const& plan, std::string_view program, MachineModel const& machine, int replica)
      : plan_(plan), machine_(machine) {
    for (int c = 0; c < plan.mesh.size("pp"); ++c) {
      Rank r;
      r.shape = plan.shapes[kind_at(plan, c, replica)].get();
      r.program = r.shape->find_program(program);
      r.spans.assign(r.program->steps.size(), {unknown, unknown});
      r.arrived.assign(r.program->steps.size(), 0);
      r.streams.resize(r.program->streams.size());
      for (Index s = 0; s < r.program->steps.size(); ++s) {
        r.streams[Index(r.program->steps[s].stream)].steps.push_back(static_cast<int>(s));
      }
      for (auto const& g : r.shape->groups) {
        r.members.push_back(static_cast<int>(plan.members(g, rank_at(plan, c, replica)).size()));
      }
      ranks_.push_back(std::move(r));
    }
  }

  /// False where some step waits for ever.
  bool run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (Index c = 0; c < ranks_.size(); ++c) {
        for (bool again = true; again; moved |= again) {
          again = false;
          for (Index s = 0; s < ranks_[c].streams.size(); ++s) {
            while (advance(c, s)) again = true;
          }
        }
      }
    }
    return std::ranges::all_of(ranks_, [](Rank const& r) {
      return std::ranges::all_of(r.streams, [](Stream const& s) { return s.next == s.steps.size(); });
    });
  }

  Timeline timeline() {
    Timeline t;
    for (auto const& r : ranks_) {
      for (auto const& s : r.streams) t.end = std::max(t.end, s.free);
    }
    for (auto& r : ranks_) {
      std::int64_t own = 0;
      for (auto const& s : r.streams) own = std::max(own, s.free);
      r.waits.collectives += own - r.streams.front().free;
      r.waits.stages += t.end - own;
      t.waits.push_back(r.waits);
      t.steps.push_back(std::move(r.spans));
    }
    return t;
  }

 private:
  struct Stream {
    std::vector<int> steps;
    Index next = 0;
    std::int64_t free = 0;
    bool announced = false;  // its next step waits for the other members
  };
  struct Rank {
    program::Template const* shape = nullptr;
    program::Program const* program = nullptr;
    std::vector<Stream> streams;
    std::vector<Simulated::Span> spans;
    std::vector<std::int64_t> arrived;  // per step: the last message that it or what it waits for had to wait for
    std::vector<int> members;           // per group
    Waits waits;
  };
  struct Meeting {
    std::int64_t ready = 0;
    std::vector<std::pair<Index, Index>> who;  // rank, stream
  };

  /// Members that are at pp coordinates of their own.
  Index partners(Rank const& r, program::Step const& step) const {
    if (!program::is_communication(step.kind)) return 1;
    auto const& axis = r.shape->groups[Index(step.group)].axis;
    return axis == "pp" ? Index(r.members[Index(step.group)]) : axis.empty() ? ranks_.size() : 1;
  }

  bool advance(Index c, Index s) {
    auto& rank = ranks_[c];
    auto& stream = rank.streams[s];
    if (stream.announced || stream.next == stream.steps.size()) return false;
    auto const& step = rank.program->steps[Index(stream.steps[stream.next])];
    auto ready = stream.free;
    auto arrived = stream.next == 0 ? 0 : rank.arrived[Index(stream.steps[stream.next - 1])];
    for (int const a : step.after) {
      auto const end = rank.spans[Index(a)].end;
      if (end == unknown) return false;
      ready = std::max(ready, end);
      arrived = std::max(arrived, rank.arrived[Index(a)]);
    }
    rank.arrived[Index(stream.steps[stream.next])] = arrived;
    if (s == 0 && ready > stream.free) {
      // A collective that comes between has waited for the message too.
      auto const message = std::clamp(arrived, stream.free, ready) - stream.free;
      rank.waits.stages += message;
      rank.waits.collectives += ready - stream.free - message;
    }
    auto const wanted = partners(rank, step);
    if (wanted == 1) {
      finish(c, s, ready);
      return true;
    }
    auto const key = std::pair(rank.shape->groups[Index(step.group)].name, stream.next);
    auto& meeting = meetings_[key];
    meeting.ready = std::max(meeting.ready, ready);
    meeting.who.emplace_back(c, s);
    stream.announced = true;
    if (meeting.who.size() < wanted) return true;
    for (auto const& [rank_index, stream_index] : meeting.who) finish(rank_index, stream_index, meeting.ready);
    meetings_.erase(key);
    return true;
  }

  void finish(Index c, Index s, std::int64_t start) {
    auto& rank = ranks_[c];
    auto& stream = rank.streams[s];
    auto const id = Index(stream.steps[stream.next++]);
    auto const& step = rank.program->steps[id];
    int const members = step.group < 0 ? 1 : rank.members[Index(step.group)];
    rank.spans[id] = {start, stream.free = start + cost_of(step, machine_, members)};
    if (is_message(step.kind)) rank.arrived[id] = stream.free;
    stream.announced = false;
  }

  Plan const& plan_;
  MachineModel const& machine_;
  std::vector<Rank> ranks_;
  std::map<std::pair<std::string, Index>, Meeting> meetings_;  // group and how many came before
};

}  // namespace

int busiest_replica(Plan const& plan) {
  auto const& m = plan.micro_batches;
  return m.empty() ? 0 : static_cast<int>(std::max_element(m.begin(), m.end()) - m.begin());
}

std::size_t kind_at(Plan const& plan, int coordinate, int replica) {
  return Index(plan.kind_of[Index(coordinate * plan.mesh.size("dp") + replica)]);
}

int rank_at(Plan const& plan, int coordinate, int replica) {
  int rank = 0;
  for (Index a = 0; a < plan.mesh.axes.size(); ++a) {
    auto const& axis = plan.mesh.axes[a];
    rank = rank * plan.mesh.sizes[a] + (axis == "pp" ? coordinate : axis == "dp" ? replica : 0);
  }
  return rank;
}

std::int64_t kernel_cost(std::int64_t flops, std::int64_t bytes, MachineModel const& machine) {
  return machine.kernel_ns + std::max(flops / machine.flops_per_ns, bytes / machine.bytes_per_ns);
}

std::int64_t cost_of(program::Step const& step, MachineModel const& machine, int ranks) {
  if (!program::is_communication(step.kind)) return kernel_cost(step.flops, step.bytes, machine);
  if (ranks < 2) return 0;
  if (is_message(step.kind)) return machine.message_ns + step.bytes / machine.link_bytes_per_ns;
  bool const twice = step.kind == StepKind::all_reduce && step.bytes > direct_reduction_bytes(ranks);
  return (twice ? 2 : 1) * machine.message_ns +
         program::sent_bytes(step.kind, step.bytes, ranks) / ranks / machine.link_bytes_per_ns;
}

Timeline play(Plan const& plan, std::string_view program, MachineModel const& machine) {
  Player player(plan, program, machine, busiest_replica(plan));
  if (!player.run()) {
    fail({.code = "plan.verify.stuck",
          .subject = text("program ", program, " does not come to its end"),
          .found = "steps that wait for ever",
          .expected = "programs that match",
          .fix = "this is a bug in Lamina: report it with the run file"});
  }
  return player.timeline();
}

bool locks_up(Plan const& plan) {
  std::set<std::int64_t> known;  // replicas with as many micro-batches are alike
  for (Index r = 0; r < plan.micro_batches.size(); ++r) {
    if (!known.insert(plan.micro_batches[r]).second) continue;
    if (!Player(plan, "forward_backward", assumed_machine(plan), static_cast<int>(r)).run()) return true;
  }
  return false;
}

Simulated actions_of(Plan const& plan, Timeline const& passes) {
  auto const& part = plan.parts.front();
  int const replica = busiest_replica(plan);
  auto const& schedule = part.schedules.at(plan.micro_batches[Index(replica)]);
  auto const table = make_node_table(part, plan.at.size());
  Simulated result;
  std::int64_t busy = 0;
  for (Index c = 0; c < schedule.actions.size(); ++c) {
    auto const& steps =
        plan.shapes[kind_at(plan, static_cast<int>(c), replica)]->find_program("forward_backward")->steps;
    auto& spans = result.spans.emplace_back();
    Index s = 0;
    for (auto const& action : schedule.actions[c]) {
      Simulated::Span span{unknown, unknown};
      // The program has the nodes of every action in this order, with other steps between them.
      for (int const n : nodes_of(action, table)) {
        auto const& node = part.graph.node(n);
        auto const is_node = [&](program::Step const& step) {
          return step.kind == StepKind::kernel && step.micro_batch == action.micro_batch && step.layer == node.layer &&
                 step.op == node.op->kind();
        };
        while (s < steps.size() && !is_node(steps[s])) ++s;
        if (s == steps.size()) break;
        if (span.start == unknown) span.start = passes.steps[c][s].start;
        span.end = passes.steps[c][s++].end;
      }
      if (span.start == unknown) span.start = span.end = spans.empty() ? 0 : spans.back().end;  // nothing to do
      busy += span.end - span.start;
      result.makespan = std::max(result.makespan, span.end);
      spans.push_back(span);
    }
  }
  auto const whole = result.makespan * static_cast<std::int64_t>(schedule.actions.size());
  result.bubble = whole > 0 ? 1 - static_cast<double>(busy) / static_cast<double>(whole) : 0;
  std::vector<std::array<std::int64_t, 4>> const units(plan.at.size(), {1, 2, 1, 1});
  result.in_flight = simulate(schedule, {.stage = units, .message = 0}).in_flight;
  return result;
}

}  // namespace lamina::plan
