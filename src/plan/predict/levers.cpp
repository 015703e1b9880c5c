// A run planned again with other settings: what each would do for memory, and which of them make it fit.
#include "lamina/plan/levers.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/plan/predict.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/table.hpp"
#include "plan/detail/variants.hpp"

namespace lamina::plan {
namespace {

using config::RunConfig;

// Steps of all kinds of ranks: to plan a hundred thousand takes about a second.
constexpr std::int64_t most_steps_of_levers = 40'000;
constexpr std::int64_t steps_of_a_fit = 1'500'000;
constexpr int most_changes = 4;
constexpr int trials_of_more_ranks = 40;
constexpr std::int64_t most_times_the_ranks = 16;

std::int64_t steps_of(Plan const& plan) {
  std::int64_t steps = 0;
  for (auto const& shape : plan.shapes) {
    for (auto const& p : shape->programs) steps += std::ssize(p.steps);
  }
  return steps;
}

struct Trial {
  std::string refused = "";
  std::int64_t peak_bytes = 0, step_ns = 0, steps = 0;
};

/// @throws Error of the plan, where the setting is not possible.
Trial plan_out(RunConfig config, Again const& again) {
  config.memory.limit = 0;
  auto const plan = draft(again.graphs(config), config, again.world, again.machine(config), Purpose::train);
  return {.peak_bytes = peak_bytes(*plan),
          .step_ns = predict(*plan, assumed_machine(*plan)).step_ns,
          .steps = steps_of(*plan)};
}

Trial try_out(RunConfig const& config, Again const& again) {
  try {
    return plan_out(config, again);
  } catch (Error const& e) {
    if (e.exit_code() == ExitCode::internal) throw;
    return {.refused = text(e.info().subject, ": ", e.info().expected)};
  }
}

std::string percent(std::int64_t now, std::int64_t before) {
  auto const tenths = before == 0 ? 0 : (now - before) * 1000 / before;
  auto const size = tenths < 0 ? -tenths : tenths;
  return text(tenths < 0 ? "-" : "+", size / 10, ".", size % 10, " %");
}

std::string seconds(std::int64_t ns) { return human_seconds(static_cast<double>(ns) * 1e-9); }

/// Looks for the smallest change; keeps the leanest that it has seen.
class Search {
 public:
  Search(Again const& again, std::int64_t limit) : again_(again), limit_(limit) {}

  Fit run(RunConfig const& config) {
    auto const as_it_is = plan_out(config, again_);
    consider(as_it_is, {});
    if (fits(as_it_is)) {
      Fit result = best_;
      result.largest_micro = largest_micro(config);
      result.tried = tried_;
      return result;
    }
    budget_ = std::max<std::int64_t>(20, steps_of_a_fit / as_it_is.steps);
    // Of settings the leanest together show whether those between are worth the time.
    if (leanest_fits(config, {})) {
      for (int n = 1; n <= most_changes && !found_; ++n) try_all(config, {}, n);
    }
    if (!found_) try_meshes(config);
    if (!found_) fail_fit(config);
    best_.tried = tried_;
    return best_;
  }

 private:
  using Names = std::vector<std::string>;

  bool fits(Trial const& t) const { return t.refused.empty() && t.peak_bytes <= limit_; }

  void measure(RunConfig const& config, Names const& names) { consider(try_out(config, again_), names); }

  void consider(Trial const& t, Names const& names) {
    ++tried_;
    if (!t.refused.empty()) return;
    if (leanest_.peak_bytes == 0 || t.peak_bytes < leanest_.peak_bytes) {
      leanest_ = {.changes = names, .peak_bytes = t.peak_bytes, .step_ns = t.step_ns};
    }
    if (fits(t) && (!found_ || t.step_ns < best_.step_ns)) {
      found_ = true;
      best_ = {.changes = names, .peak_bytes = t.peak_bytes, .step_ns = t.step_ns};
    }
  }

  std::int64_t largest_micro(RunConfig config) {
    auto const most = config.batch.global / config.mesh.dp;
    auto fitting = config.batch.micro;
    while (2 * fitting <= most) {
      config.batch.micro = 2 * fitting;
      ++tried_;
      if (!fits(try_out(config, again_))) break;
      fitting = config.batch.micro;
    }
    return fitting;
  }

  void apply(RunConfig& config, Names& names, Change const& change) const {
    change.apply(config, change.value);
    names.push_back(change.setting);
  }

  /// The last value of every setting; ZeRO and sequence parallelism also as they are, for gathered parameters and the
  /// scratch of gathers can need more.
  bool leanest_fits(RunConfig const& config, Names const& names) {
    auto const changes = memory_changes(config);
    if (changes.empty()) return false;
    auto const has = [&](Change::Key key) { return std::ranges::count(changes, key, &Change::key) > 0; };
    bool any = false;
    for (int which = 0; which < 4; ++which) {
      bool const no_sequence = which >= 2, no_zero = which % 2 == 1;
      if ((no_sequence && !has(Change::sequence_parallel)) || (no_zero && !has(Change::zero))) continue;
      auto c = config;
      auto n = names;
      for (std::size_t i = 0; i < changes.size(); ++i) {
        bool const last = i + 1 == changes.size() || changes[i + 1].key != changes[i].key;
        auto const key = changes[i].key;
        bool const left_out = (no_zero && key == Change::zero) || (no_sequence && key == Change::sequence_parallel);
        if (last && !left_out) apply(c, n, changes[i]);
      }
      ++tried_;
      auto const t = try_out(c, again_);
      any |= fits(t);
      if (t.refused.empty() && (leanest_.peak_bytes == 0 || t.peak_bytes < leanest_.peak_bytes)) {
        leanest_ = {.changes = n, .peak_bytes = t.peak_bytes, .step_ns = t.step_ns};
      }
    }
    return any;
  }

  void try_all(RunConfig const& config, Names const& names, int count) {
    auto const changes = memory_changes(config);
    for (auto const& chosen : combinations(changes, count)) {
      if (tried_ >= budget_) return;
      auto c = config;
      auto n = names;
      for (int const i : chosen) apply(c, n, changes[static_cast<std::size_t>(i)]);
      measure(c, n);
    }
  }

  void try_meshes(RunConfig const& config) {
    std::vector<std::pair<RunConfig, Names>> meshes;
    for (auto const& change : mesh_changes(config, again_.world)) {
      auto& [c, names] = meshes.emplace_back(config, Names{});
      apply(c, names, change);
    }
    for (auto const& [c, names] : meshes) {
      if (tried_ < budget_) measure(c, names);
    }
    if (found_) return;
    std::erase_if(meshes, [&](auto const& m) { return tried_ >= budget_ || !leanest_fits(m.first, m.second); });
    for (int n = 1; n <= most_changes && !found_; ++n) {
      for (auto const& [c, names] : meshes) try_all(c, names, n);
    }
  }

  [[noreturn]] void fail_fit(RunConfig const& config) const {
    auto const more = with_more_ranks(config);
    fail({.code = "plan.memory.fit",
          .subject = text("no setting that was tried fits (", tried_, " of them)"),
          .found = leanest_.peak_bytes == 0
                       ? std::string("settings that cannot be planned")
                       : text("the leanest needs ", human_bytes(leanest_.peak_bytes), " (", leanest_.peak_bytes,
                              " bytes) a rank, with ",
                              leanest_.changes.empty() ? "the settings as they are" : join(leanest_.changes)),
          .expected = text("at most ", human_bytes(limit_), " (", limit_, " bytes) a rank"),
          .fix = more.empty() ? "give more ranks (--ranks), more memory, or a smaller model or context"
                              : text("it fits with ", more, "; or give more memory, or a smaller model or context")});
  }

  /// The fewest times as many ranks with which some mesh fits, and how; "" where none of those tried does.
  std::string with_more_ranks(RunConfig const& config) const {
    auto trials = std::min<std::int64_t>(trials_of_more_ranks, budget_);
    for (std::int64_t times = 2; times <= most_times_the_ranks && trials > 0; times *= 2) {
      if (again_.world * times >= meshes_in_one) break;
      if (leanest_.peak_bytes / times > limit_) continue;  // no mesh divides more than everything
      auto more = again_;
      more.world *= times;
      auto wider = config;
      wider.mesh.dp *= times;
      std::vector<std::pair<RunConfig, Names>> meshes{{wider, {text("mesh.dp = ", wider.mesh.dp)}}};
      for (auto const& change : mesh_changes(wider, more.world)) {
        auto& [c, names] = meshes.emplace_back(wider, Names{});
        apply(c, names, change);
      }
      for (auto const& [c, names] : meshes) {
        if (trials <= 0) break;
        Search search(more, limit_);
        search.measure(c, names);
        bool const fits = search.found_ || search.leanest_fits(c, names);
        if (fits) return text("--ranks ", more.world, " and ", join(search.leanest_.changes));
        trials -= search.tried_;
      }
    }
    return "";
  }

  Again const& again_;
  std::int64_t limit_, budget_ = 400;
  int tried_ = 0;
  bool found_ = false;
  Fit best_, leanest_;
};

}  // namespace

std::vector<Lever> levers(RunConfig const& config, Again const& again) {
  std::vector<Lever> all;
  auto const add = [&](std::string setting, RunConfig const& c) {
    auto const t = try_out(c, again);
    all.push_back(
        {.setting = std::move(setting), .refused = t.refused, .peak_bytes = t.peak_bytes, .step_ns = t.step_ns});
  };
  auto const with = [&](std::string setting, auto change) {
    auto c = config;
    change(c);
    if (!(c == config)) add(std::move(setting), c);
  };
  add("as it is", config);
  for (std::string const mode : {"none", "selective", "full"}) {
    with(text("memory.recompute = \"", mode, '"'), [&](auto& c) { c.memory.recompute = mode; });
  }
  auto const micro = config.batch.micro;
  if (micro > 3) with(text("batch.micro = ", micro / 2), [&](auto& c) { c.batch.micro = micro / 2; });
  with("batch.micro = 1", [&](auto& c) { c.batch.micro = 1; });
  if (config.mesh.tp > 1) {
    bool const on = !config.parallel.sequence_parallel;
    with(text("parallel.sequence_parallel = ", on ? "true" : "false"),
         [&](auto& c) { c.parallel.sequence_parallel = on; });
  }
  for (std::int64_t z = 0; config.mesh.dp > 1 && z <= 3; ++z) {
    with(text("parallel.zero = ", z), [&](auto& c) { c.parallel.zero = z; });
  }
  with("precision.compute = \"bf16\"", [&](auto& c) { c.precision.compute = "bf16"; });
  return all;
}

bool is_cheap_again(Plan const& planned) { return steps_of(planned) <= most_steps_of_levers; }

std::string levers_text(Plan const& planned, RunConfig const& config, Again const& again) {
  if (!is_cheap_again(planned)) {
    return text("other settings: not planned, for this run's programs have ", steps_of(planned), " steps (at most ",
                most_steps_of_levers, "); try them one by one with --set\n");
  }
  auto const all = levers(config, again);
  auto const& base = all.front();
  std::vector<std::vector<std::string>> rows{{"setting", "fullest rank", "bytes", "change", "predicted step"}};
  for (auto const& l : all) {
    if (!l.refused.empty()) {
      rows.push_back({l.setting, "not possible: " + l.refused});
      continue;
    }
    rows.push_back({l.setting, human_bytes(l.peak_bytes), text(l.peak_bytes),
                    &l == &base ? "" : percent(l.peak_bytes, base.peak_bytes), seconds(l.step_ns)});
  }
  return "other settings, each alone\n" + table(rows);
}

Fit fit(RunConfig const& config, Again const& again, std::int64_t limit) { return Search(again, limit).run(config); }

std::string to_text(Fit const& fit, std::int64_t limit) {
  auto const peak = text(human_bytes(fit.peak_bytes), " (", fit.peak_bytes, " bytes) a rank of ", human_bytes(limit),
                         ", predicted step ", seconds(fit.step_ns), "\n");
  if (fit.changes.empty()) {
    return text("fits as it is: ", peak, "batch.micro: up to ", fit.largest_micro, " (by doubling) fits\n");
  }
  std::string out = text("fits with ", fit.changes.size() == 1 ? "one change: " : "these changes: ", peak);
  for (auto const& c : fit.changes) out += text("  ", c, "\n");
  return out + text("the smallest change that fits, the fastest of equals; ", fit.tried, " plans made\n");
}

}  // namespace lamina::plan
