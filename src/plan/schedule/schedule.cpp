// The generators. GPipe, 1F1B and ZB-H1 are one greedy play with different rules, so that any assignment of stages to
// coordinates has a sound order: what is played is possible.
#include "plan/detail/schedule.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::plan {
namespace {

using Kind = Action::Kind;
constexpr std::array<std::string_view, 4> names{"gpipe", "1f1b", "interleaved", "zb-h1"};
constexpr std::int64_t never = -1;

struct Rules {
  bool forwards_first = false;  // no backward before the coordinate's last forward
  bool bounded = false;         // stage k of K holds at most K - k micro-batches
  bool split = false;           // backward in two parts
  bool whole_first = false;     // but not that of stage 0
  std::vector<Kind> priority;   // what an idle coordinate takes first; backward stands for the first of two parts too
};

/// Every idle coordinate takes the first thing of its priorities that is ready, deeper stages first. Time in units of a
/// forward; a whole backward takes two. Micro-batches pass every stage in their order.
class Play {
 public:
  Play(std::vector<int> const& at, int coordinates, int micro_batches, Rules rules)
      : at_(at), m_(micro_batches), rules_(std::move(rules)), stages_(at.size()), free_(Index(coordinates), 0) {
    schedule_.coordinates = coordinates;
    schedule_.at = at;
    schedule_.actions.resize(Index(coordinates));
    for (auto& s : stages_) s.end.fill(std::vector<std::int64_t>(Index(m_), never));
  }

  Schedule run() {
    std::int64_t left = 0;
    for (int k = 0; k < static_cast<int>(at_.size()); ++k) left += m_ * (is_split(k) ? 3 : 2);
    for (now_ = 0; left > 0; ++now_) {
      for (int c = 0; c < schedule_.coordinates; ++c) {
        if (free_[Index(c)] <= now_ && take(c)) --left;
      }
    }
    return schedule_;
  }
  /// When the last action ends.
  std::int64_t makespan() const { return *std::max_element(free_.begin(), free_.end()); }

 private:
  using Index = std::size_t;
  struct Stage {
    std::array<int, 4> next{};                     // per kind: the micro-batch whose turn it is
    std::array<std::vector<std::int64_t>, 4> end;  // per kind and micro-batch
  };

  bool is_split(int stage) const { return rules_.split && !(rules_.whole_first && stage == 0); }
  Kind backward(int stage) const { return is_split(stage) ? Kind::backward_input : Kind::backward; }
  int done(int stage, Kind kind) const { return stages_[Index(stage)].next[Index(kind)]; }
  bool is_over(int stage, Kind kind, int m) const {
    auto const end = stages_[Index(stage)].end[Index(kind)][Index(m)];
    return end != never && end <= now_;
  }

  bool is_ready(int c, int stage, Kind kind) const {
    int const m = done(stage, kind), last = static_cast<int>(at_.size()) - 1;
    if (m == m_) return false;
    if (kind == Kind::backward_weight) return is_split(stage) && is_over(stage, Kind::backward_input, m);
    if (kind == Kind::forward) {
      if (stage > 0 && !is_over(stage - 1, kind, m)) return false;
      return !rules_.bounded || has_room(stage, m);
    }
    if (rules_.forwards_first && !has_all_forwards(c)) return false;
    return is_over(stage, Kind::forward, m) && (stage == last || is_over(stage + 1, backward(stage + 1), m));
  }
  bool has_room(int stage, int started) const {
    int const most = static_cast<int>(at_.size());
    bool const kept = is_split(stage) && started - done(stage, Kind::backward_weight) >= most;
    return !kept && started - done(stage, backward(stage)) < most - stage;
  }
  bool has_all_forwards(int c) const {
    for (Index k = 0; k < at_.size(); ++k) {
      if (at_[k] == c && stages_[k].next[Index(Kind::forward)] < m_) return false;
    }
    return true;
  }

  bool take(int c) {
    for (Kind const wanted : rules_.priority) {
      for (int k = static_cast<int>(at_.size()) - 1; k >= 0; --k) {
        auto const kind = wanted == Kind::backward ? backward(k) : wanted;
        if (at_[Index(k)] != c || !is_ready(c, k, kind)) continue;
        auto& stage = stages_[Index(k)];
        int const m = stage.next[Index(kind)]++;
        free_[Index(c)] = stage.end[Index(kind)][Index(m)] = now_ + (kind == Kind::backward ? 2 : 1);
        schedule_.actions[Index(c)].push_back({kind, m, k});
        return true;
      }
    }
    return false;
  }

  std::vector<int> const& at_;
  int m_;
  Rules rules_;
  std::vector<Stage> stages_;
  std::vector<std::int64_t> free_;  // per coordinate: when it is idle again
  std::int64_t now_ = 0;
  Schedule schedule_;
};

/// The shortest of several plays; the first of equals.
Schedule best_play(std::vector<int> const& at, int coordinates, int m, std::vector<Rules> const& rules) {
  Schedule best;
  std::int64_t shortest = never;
  for (auto const& r : rules) {
    Play play(at, coordinates, m, r);
    auto schedule = play.run();
    if (shortest != never && play.makespan() >= shortest) continue;
    shortest = play.makespan(), best = std::move(schedule);
  }
  return best;
}

Schedule gpipe(std::vector<int> const& at, int coordinates, int m) {
  return best_play(at, coordinates, m, {{.forwards_first = true, .priority = {Kind::forward, Kind::backward}}});
}

Schedule one_f_one_b(std::vector<int> const& at, int coordinates, int m) {
  return best_play(at, coordinates, m,
                   {{.bounded = true, .priority = {Kind::forward, Kind::backward}},
                    {.bounded = true, .priority = {Kind::backward, Kind::forward}}});
}

/// The gradient of stage 0's input goes nowhere, so its two parts are apart only where that makes the step shorter: the
/// whole backward reads what it needs once, while it is in the cache, and keeps no gradients for later.
Schedule zb_h1(std::vector<int> const& at, int coordinates, int m) {
  std::vector<Rules> rules;
  for (bool const whole_first : {true, false}) {
    for (auto const& first : {std::pair(Kind::backward, Kind::forward), std::pair(Kind::forward, Kind::backward)}) {
      rules.push_back({.bounded = true,
                       .split = true,
                       .whole_first = whole_first,
                       .priority = {first.first, first.second, Kind::backward_weight}});
    }
  }
  return best_play(at, coordinates, m, rules);
}

/// Coordinate r first does (p - r - 1) * 2 + (v - 1) * p forwards, then one forward and one backward in turns, then the
/// remaining backwards. The n-th forward belongs to chunk n / p % v, backwards take the chunks from the last.
Schedule interleaved(std::vector<int> const& at, int p, int m) {
  int const v = static_cast<int>(at.size()) / p, total = m * v;
  Schedule s{.name = {}, .coordinates = p, .at = at, .actions = {}};
  for (int r = 0; r < p; ++r) {
    auto& list = s.actions.emplace_back();
    auto const micro_batch = [&](int n) { return n / (p * v) * p + n % p; };
    auto const forward = [&](int n) { list.push_back({Kind::forward, micro_batch(n), n / p % v * p + r}); };
    auto const backward = [&](int n) { list.push_back({Kind::backward, micro_batch(n), (v - 1 - n / p % v) * p + r}); };
    int const warm_up = std::min(total, v == 1 ? p - r - 1 : (p - r - 1) * 2 + (v - 1) * p);
    for (int n = 0; n < warm_up; ++n) forward(n);
    for (int n = warm_up; n < total; ++n) forward(n), backward(n - warm_up);
    for (int n = total - warm_up; n < total; ++n) backward(n);
  }
  return s;
}

void require_interleaved(std::vector<int> const& at, int p, int m) {
  int const stages = static_cast<int>(at.size());
  if (stages % p != 0 || at != cyclic(p, stages / p)) {
    fail({.code = "plan.schedule.at",
          .subject = "pipeline.schedule = \"interleaved\"",
          .found = text("stages at pp coordinates ", join(at)),
          .expected = text("stage k at coordinate k % ", p, ": 0 to ", p - 1, " in turns"),
          .fix =
              "take pipeline.stages = \"auto\" with pipeline.chunks, or schedule = \"1f1b\", which takes any stages"});
  }
  if (m % p == 0) return;
  auto const below = m / p * p;
  fail({.code = "plan.schedule.micro_batches",
        .subject = "pipeline.schedule = \"interleaved\"",
        .found = text(m, " micro-batches per step, mesh.pp = ", p),
        .expected = text("a multiple of mesh.pp: ", below > 0 ? text(below, ", ") : std::string(), below + p, ", ",
                         below + 2 * p, ", ..."),
        .fix = "change batch.global or batch.micro, or take schedule = \"1f1b\""});
}

}  // namespace

std::vector<int> cyclic(int coordinates, int chunks) {
  std::vector<int> at(static_cast<std::size_t>(coordinates) * static_cast<std::size_t>(chunks));
  for (std::size_t k = 0; k < at.size(); ++k) at[k] = static_cast<int>(k) % coordinates;
  return at;
}

Schedule make_schedule(std::string_view kind, std::vector<int> const& at, int coordinates, int micro_batches) {
  if (std::find(names.begin(), names.end(), kind) == names.end()) {
    fail({.code = "plan.schedule.kind",
          .subject = "pipeline.schedule",
          .found = text('"', kind, '"'),
          .expected = text("one of ", join(names)),
          .fix = "take one of these, or schedule = \"file\" with pipeline.file"});
  }
  auto const is_outside = [&](int c) { return c < 0 || c >= coordinates; };
  if (at.empty() || micro_batches < 1 || std::any_of(at.begin(), at.end(), is_outside)) {
    fail({.code = "plan.schedule.at",
          .subject = text("schedule ", kind),
          .found = text("stages at pp coordinates [", join(at), "], ", micro_batches, " micro-batches"),
          .expected = text("stages at 0 to ", coordinates - 1, ", and at least one micro-batch"),
          .fix = "give each stage a coordinate of the mesh"});
  }
  if (kind == "interleaved") require_interleaved(at, coordinates, micro_batches);
  auto schedule = kind == "gpipe"   ? gpipe(at, coordinates, micro_batches)
                  : kind == "1f1b"  ? one_f_one_b(at, coordinates, micro_batches)
                  : kind == "zb-h1" ? zb_h1(at, coordinates, micro_batches)
                                    : interleaved(at, coordinates, micro_batches);
  schedule.name = kind;
  return schedule;
}

bool has_weight_actions(Schedule const& schedule) {
  return std::any_of(schedule.actions.begin(), schedule.actions.end(), [](auto const& list) {
    return std::any_of(list.begin(), list.end(), [](Action const& a) { return a.kind == Kind::backward_weight; });
  });
}

}  // namespace lamina::plan
