// Schedules in time: the simulation and its picture.
#include <algorithm>
#include <numeric>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/schedule.hpp"

namespace lamina::plan {
namespace {

using Kind = Action::Kind;
using Index = std::size_t;
constexpr std::int64_t unknown = -1;

class Simulation {
 public:
  Simulation(Schedule const& schedule, ActionCosts const& costs) : s_(schedule), costs_(costs) {
    int most = 0;
    for (auto const& list : s_.actions) {
      for (auto const& a : list) most = std::max(most, a.micro_batch + 1);
    }
    micro_batches_ = Index(most);
    for (auto& e : ends_) e.assign(s_.at.size() * micro_batches_, unknown);
  }

  Simulated run() {
    Simulated r;
    std::vector<Index> next(s_.actions.size(), 0);
    std::vector<std::int64_t> free(s_.actions.size(), 0);
    std::int64_t busy = 0;
    r.spans.resize(s_.actions.size());
    for (bool moved = true; moved;) {
      moved = false;
      for (Index c = 0; c < s_.actions.size(); ++c) {
        for (; next[c] < s_.actions[c].size(); ++next[c], moved = true) {
          auto const& a = s_.actions[c][next[c]];
          auto const arrived = ready(a);
          if (arrived == unknown) break;
          auto const start = std::max(arrived, free[c]);
          auto const cost = costs_.stage[Index(a.stage)][Index(a.kind)];
          end(a.kind, a.micro_batch, a.stage) = free[c] = start + cost;
          busy += cost;
          r.spans[c].push_back({start, free[c]});
        }
      }
    }
    for (Index c = 0; c < s_.actions.size(); ++c) {
      if (next[c] == s_.actions[c].size()) continue;
      fail({.code = "plan.schedule.unsound",
            .subject = text("pipeline schedule ", s_.name),
            .found = text(to_text(s_.actions[c][next[c]]), " at coordinate ", c, " can never start"),
            .expected = "an order that is possible",
            .fix = "check the schedule first"});
    }
    r.makespan = *std::max_element(free.begin(), free.end());
    auto const whole = static_cast<double>(r.makespan) * static_cast<double>(s_.actions.size());
    r.bubble = whole > 0 ? 1 - static_cast<double>(busy) / whole : 0;
    in_flight(r);
    return r;
  }

 private:
  std::int64_t& end(Kind kind, int m, int stage) {
    return ends_[Index(kind)][Index(stage) * micro_batches_ + Index(m)];
  }
  std::int64_t end_of_backward(int m, int stage) {
    return std::max(end(Kind::backward, m, stage), end(Kind::backward_input, m, stage));
  }
  std::int64_t arrival(std::int64_t left, int from, int to) const {
    if (left == unknown) return unknown;
    return left + (s_.at[Index(from)] == s_.at[Index(to)] ? 0 : costs_.message);
  }
  /// When all is there that the action waits for; unknown while that is not known.
  std::int64_t ready(Action const& a) {
    if (a.kind == Kind::forward) {
      return a.stage == 0 ? 0 : arrival(end(Kind::forward, a.micro_batch, a.stage - 1), a.stage - 1, a.stage);
    }
    if (a.kind == Kind::backward_weight) return end(Kind::backward_input, a.micro_batch, a.stage);
    auto const forward = end(Kind::forward, a.micro_batch, a.stage);
    if (forward == unknown || a.stage + 1 == static_cast<int>(s_.at.size())) return forward;
    auto const gradient = arrival(end_of_backward(a.micro_batch, a.stage + 1), a.stage + 1, a.stage);
    return gradient == unknown ? unknown : std::max(forward, gradient);
  }

  void in_flight(Simulated& r) const {
    for (auto const& list : s_.actions) {
      int now = 0, most = 0;
      for (auto const& a : list) {
        if (a.kind == Kind::forward) most = std::max(most, ++now);
        if (a.kind == Kind::backward || a.kind == Kind::backward_weight) --now;
      }
      r.in_flight.push_back(most);
    }
  }

  Schedule const& s_;
  ActionCosts const& costs_;
  Index micro_batches_ = 0;
  std::array<std::vector<std::int64_t>, 4> ends_;  // per kind: stage * micro-batches + micro-batch
};

}  // namespace

Simulated simulate(Schedule const& schedule, ActionCosts const& costs) { return Simulation(schedule, costs).run(); }

std::string chart(Schedule const& schedule, Simulated const& times, int columns) {
  // Room for every label where that fits, else the whole width.
  std::int64_t shortest = times.makespan, longest_label = 2;
  for (Index c = 0; c < times.spans.size(); ++c) {
    for (Index i = 0; i < times.spans[c].size(); ++i) {
      auto const& span = times.spans[c][i];
      if (span.end > span.start) shortest = std::min(shortest, span.end - span.start);
      longest_label = std::max(longest_label, std::ssize(text(schedule.actions[c][i].micro_batch)) + 1);
    }
  }
  std::vector<std::string> labels;
  for (Index c = 0; c < times.spans.size(); ++c) {
    std::vector<int> stages;
    for (Index k = 0; k < schedule.at.size(); ++k) {
      if (schedule.at[k] == static_cast<int>(c)) stages.push_back(static_cast<int>(k));
    }
    labels.push_back(stages.size() > 4 ? text("pp ", c, " (", stages.size(), " stages)")
                                       : text("pp ", c, " (stage ", join(stages), ')'));
  }
  std::size_t margin = 0;
  for (auto const& l : labels) margin = std::max(margin, l.size() + 1);
  auto const room = std::max<std::int64_t>(10, columns - static_cast<std::int64_t>(margin) - 2);
  auto const makespan = std::max<std::int64_t>(times.makespan, 1);
  auto wide = shortest > 0 ? (makespan + shortest - 1) / shortest * longest_label : room;
  auto const width = std::clamp<std::int64_t>(wide, 1, room);
  auto const column = [&](std::int64_t t) { return Index((t * width + makespan / 2) / makespan); };

  std::string out;
  for (Index c = 0; c < times.spans.size(); ++c) {
    std::string row(Index(width), '.');
    for (Index i = 0; i < times.spans[c].size(); ++i) {
      auto const& a = schedule.actions[c][i];
      auto const from = column(times.spans[c][i].start), to = column(times.spans[c][i].end);
      auto const label = text(letter_of(a.kind), a.micro_batch);
      for (Index x = from; x < to; ++x) {
        row[x] = x - from < label.size() && to - from >= label.size() ? label[x - from] : x == from ? label[0] : '-';
      }
    }
    out += labels[c] + std::string(margin - labels[c].size(), ' ') + '|' + row + "|\n";
  }
  return out;
}

}  // namespace lamina::plan
