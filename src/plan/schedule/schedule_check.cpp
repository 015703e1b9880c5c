#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/schedule.hpp"

namespace lamina::plan {
namespace {

using Kind = Action::Kind;
using Index = std::size_t;

constexpr std::size_t most_shown = 20;

class Checker {
 public:
  Checker(Schedule const& schedule, std::vector<int> const& at, int micro_batches, ScheduleLines const* lines)
      : s_(schedule), at_(at), m_(micro_batches), lines_(lines) {}

  std::vector<std::string> run() {
    if (s_.at != at_) {
      problems_.push_back(
          text("the schedule has its stages at pp coordinates [", join(s_.at), "], the run at [", join(at_), "]"));
      return problems_;
    }
    places();
    if (!problems_.empty()) return problems_;
    counts();
    if (problems_.empty()) play();
    return problems_;
  }

 private:
  std::string where(Index c, Index i) const {
    return lines_ == nullptr ? text("pp ", c, ", action ", i, ": ")
                             : text(lines_->file, ':', lines_->lines[c][i], ": ");
  }

  /// Every action names a micro-batch and a stage of the run, and stands at the stage's coordinate.
  void places() {
    for (Index c = 0; c < s_.actions.size(); ++c) {
      for (Index i = 0; i < s_.actions[c].size(); ++i) {
        auto const& a = s_.actions[c][i];
        if (a.micro_batch < 0 || a.micro_batch >= m_) {
          problems_.push_back(text(where(c, i), to_text(a), ": micro-batches are 0 to ", m_ - 1));
        } else if (a.stage < 0 || a.stage >= static_cast<int>(at_.size())) {
          problems_.push_back(text(where(c, i), to_text(a), ": stages are 0 to ", at_.size() - 1));
        } else if (at_[Index(a.stage)] != static_cast<int>(c)) {
          problems_.push_back(
              text(where(c, i), to_text(a), " at coordinate ", c, ": stage ", a.stage, " is at ", at_[Index(a.stage)]));
        }
      }
    }
  }

  /// One forward, and one backward or its two parts; found_ keeps where each stands.
  void counts() {
    for (Index c = 0; c < s_.actions.size(); ++c) {
      for (Index i = 0; i < s_.actions[c].size(); ++i) {
        auto const [first, is_new] = found_.emplace(s_.actions[c][i], i);
        if (is_new) continue;
        problems_.push_back(text(
            where(c, i), to_text(s_.actions[c][i]), " a second time; first ",
            lines_ == nullptr ? text("as action ", first->second) : text("on line ", lines_->lines[c][first->second])));
      }
    }
    for (int k = 0; k < static_cast<int>(at_.size()); ++k) {
      for (int m = 0; m < m_; ++m) {
        auto const has = [&](Kind kind) { return found_.contains({kind, m, k}); };
        auto const missing = [&](std::string_view what) {
          problems_.push_back(
              text("micro-batch ", m, " of stage ", k, " (coordinate ", at_[Index(k)], ") has no ", what));
        };
        if (!has(Kind::forward)) missing("forward (F)");
        bool const input = has(Kind::backward_input), weight = has(Kind::backward_weight);
        if (has(Kind::backward)) {
          if (input || weight) {
            problems_.push_back(text("micro-batch ", m, " of stage ", k,
                                     " has a whole backward (B) and a part of one (", input ? "I" : "W", ")"));
          }
        } else if (!input && !weight) {
          missing("backward (B, or I and W)");
        } else if (!input) {
          missing("backward for inputs (I)");
        } else if (!weight) {
          missing("backward for weights (W)");
        }
      }
    }
  }

  /// What an action waits for.
  std::vector<Action> needs(Action const& a) const {
    std::vector<Action> all;
    bool const last = a.stage + 1 == static_cast<int>(at_.size());
    if (a.kind == Kind::forward) {
      if (a.stage > 0) all.push_back({Kind::forward, a.micro_batch, a.stage - 1});
    } else if (a.kind == Kind::backward_weight) {
      all.push_back({Kind::backward_input, a.micro_batch, a.stage});
    } else {
      all.push_back({Kind::forward, a.micro_batch, a.stage});
      if (!last) {
        Action const whole{Kind::backward, a.micro_batch, a.stage + 1};
        all.push_back(found_.contains(whole) ? whole : Action{Kind::backward_input, a.micro_batch, a.stage + 1});
      }
    }
    return all;
  }

  void play() {
    std::vector<Index> next(s_.actions.size(), 0);
    std::set<Action> over;
    auto const waits_for = [&](Action const& a) -> std::optional<Action> {
      for (auto const& n : needs(a)) {
        if (!over.contains(n)) return n;
      }
      return std::nullopt;
    };
    for (bool moved = true; moved;) {
      moved = false;
      for (Index c = 0; c < s_.actions.size(); ++c) {
        for (; next[c] < s_.actions[c].size() && !waits_for(s_.actions[c][next[c]]); ++next[c]) {
          over.insert(s_.actions[c][next[c]]), moved = true;
        }
      }
    }
    for (Index c = 0; c < s_.actions.size(); ++c) {
      if (next[c] == s_.actions[c].size()) continue;
      auto const& a = s_.actions[c][next[c]];
      auto const n = waits_for(a);
      auto const there = Index(at_[Index(n->stage)]);
      auto const& stuck = s_.actions[there][next[there]];
      auto const when = there == c ? std::string("later") : text("after ", to_text(stuck), ", which waits too");
      problems_.push_back(text(where(c, next[c]), "the order is not possible: ", to_text(a), " waits for ", to_text(*n),
                               ", which coordinate ", there, stuck == *n ? " cannot begin" : text(" does ", when)));
    }
  }

  Schedule const& s_;
  std::vector<int> const& at_;
  int m_;
  ScheduleLines const* lines_;
  std::map<Action, Index> found_;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> find_problems(Schedule const& schedule, std::vector<int> const& at, int micro_batches,
                                       ScheduleLines const* lines) {
  return Checker(schedule, at, micro_batches, lines).run();
}

void check(Schedule const& schedule, std::vector<int> const& at, int micro_batches, ScheduleLines const* lines) {
  auto problems = find_problems(schedule, at, micro_batches, lines);
  if (problems.empty()) return;
  auto const count = problems.size();
  if (count > most_shown) problems.resize(most_shown), problems.push_back(text("and ", count - most_shown, " more"));
  fail({.code = "plan.schedule.unsound",
        .subject = text("pipeline schedule ", lines == nullptr ? schedule.name : lines->file, ": ", count,
                        count == 1 ? " problem" : " problems"),
        .found = join(problems, "\n            "),
        .expected = text("each of ", micro_batches, " micro-batches once forward and once backward through each of ",
                         at.size(), " stages, in an order that is possible"),
        .fix = "correct the schedule; `lamina plan --print plan` draws those that Lamina makes"});
}

}  // namespace lamina::plan
