#include "plan/detail/variants.hpp"

#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"

namespace lamina::plan {
namespace {

using config::RunConfig;

constexpr std::array<char const*, 3> recomputations{"none", "selective", "full"};

void set_recompute(RunConfig& c, std::int64_t v) { c.memory.recompute = recomputations[static_cast<std::size_t>(v)]; }
void set_zero(RunConfig& c, std::int64_t v) { c.parallel.zero = v; }
void set_sequence(RunConfig& c, std::int64_t v) { c.parallel.sequence_parallel = v != 0; }
void set_micro(RunConfig& c, std::int64_t v) { c.batch.micro = v; }
void set_schedule(RunConfig& c, std::int64_t) { c.pipeline.schedule = "1f1b"; }
void set_mesh(RunConfig& c, std::int64_t v) {
  auto const world = c.mesh.dp * c.mesh.tp * c.mesh.pp;
  c.mesh.tp = v / meshes_in_one, c.mesh.pp = v % meshes_in_one;
  c.mesh.dp = world / (c.mesh.tp * c.mesh.pp);
}

void combine(std::vector<Change> const& changes, std::size_t from, std::size_t left, std::vector<int>& chosen,
             std::vector<std::vector<int>>& all) {
  if (left == 0) return all.push_back(chosen);
  for (auto i = from; i < changes.size(); ++i) {
    bool const again = std::any_of(chosen.begin(), chosen.end(),
                                   [&](int c) { return changes[static_cast<std::size_t>(c)].key == changes[i].key; });
    if (again) continue;
    chosen.push_back(static_cast<int>(i));
    combine(changes, i + 1, left - 1, chosen, all);
    chosen.pop_back();
  }
}

}  // namespace

std::vector<Change> memory_changes(RunConfig const& config) {
  std::vector<Change> all;
  auto const add = [&](Change::Key key, std::string setting, auto* apply, std::int64_t value) {
    all.push_back({.setting = std::move(setting), .key = key, .apply = apply, .value = value});
  };
  if (config.mesh.tp > 1) {  // off: small models need less without its scratch
    bool const on = !config.parallel.sequence_parallel;
    add(Change::sequence_parallel, text("parallel.sequence_parallel = ", on ? "true" : "false"), set_sequence,
        on ? 1 : 0);
  }
  if (config.mesh.pp > 1 && config.pipeline.schedule == "gpipe")
    add(Change::schedule, "pipeline.schedule = \"1f1b\"", set_schedule, 0);
  for (auto z = config.parallel.zero + 1; config.mesh.dp > 1 && z <= (config.batch.shares.empty() ? 3 : 1); ++z) {
    add(Change::zero, text("parallel.zero = ", z), set_zero, z);
  }
  for (auto m = config.batch.micro / 2; m >= 1; m /= 2) add(Change::micro, text("batch.micro = ", m), set_micro, m);
  auto const now = std::find(recomputations.begin(), recomputations.end(), config.memory.recompute);
  for (auto r = now - recomputations.begin() + 1; r < std::ssize(recomputations); ++r) {
    add(Change::recompute, text("memory.recompute = \"", recomputations[static_cast<std::size_t>(r)], '"'),
        set_recompute, r);
  }
  return all;
}

std::vector<Change> mesh_changes(RunConfig const& config, std::int64_t world) {
  std::vector<Change> all;
  // Lists of stages and shares of replicas name coordinates of the mesh as it is.
  if (!config.pipeline.stages.automatic() || !config.batch.shares.empty() || config.pipeline.schedule == "file") {
    return all;
  }
  for (auto tp = config.mesh.tp; tp <= world; ++tp) {
    for (auto pp = config.mesh.pp; pp <= world / tp; ++pp) {
      if (world % (tp * pp) != 0 || (tp == config.mesh.tp && pp == config.mesh.pp)) continue;
      all.push_back({.setting = text("mesh.dp = ", world / (tp * pp), ", mesh.tp = ", tp, ", mesh.pp = ", pp),
                     .key = Change::mesh,
                     .apply = set_mesh,
                     .value = tp * meshes_in_one + pp});
    }
  }
  auto const cut = [](Change const& c) { return (c.value / meshes_in_one) * (c.value % meshes_in_one); };
  std::stable_sort(all.begin(), all.end(), [&](auto const& a, auto const& b) { return cut(a) < cut(b); });
  return all;
}

std::vector<std::vector<int>> combinations(std::vector<Change> const& changes, int count) {
  std::vector<std::vector<int>> all;
  std::vector<int> chosen;
  combine(changes, 0, static_cast<std::size_t>(count), chosen, all);
  return all;
}

}  // namespace lamina::plan
