#include <algorithm>
#include <numeric>

#include "config/detail/keys.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/config/run_config.hpp"

namespace lamina::config {
namespace {

// All meshes of this many ranks that Lamina can run now, as "dp = 4, tp = 1, pp = 1; ...".
std::string meshes_of(std::int64_t world) {
  auto const most = [](std::string_view axis) {
    return static_cast<std::int64_t>(std::min(detail::find_key("mesh", axis)->limits.available_to, 1e9));
  };
  std::vector<std::string> fitting;
  for (std::int64_t pp = 1; pp <= std::min(world, most("pp")); ++pp) {
    if (world % pp != 0) continue;
    for (std::int64_t tp = 1; tp <= std::min(world / pp, most("tp")); ++tp) {
      if (world / pp % tp != 0) continue;
      if (fitting.size() == 12) return join(fitting, "; ") + "; ...";
      fitting.push_back(text("dp = ", world / pp / tp, ", tp = ", tp, ", pp = ", pp));
    }
  }
  return join(fitting, "; ");
}

void resolve_mesh(Mesh& mesh, std::int64_t world, std::vector<ErrorInfo>& problems) {
  auto const others = mesh.tp * mesh.pp;
  if (mesh.dp == 0 && world % others == 0) mesh.dp = world / others;
  if (mesh.dp > 0 && mesh.dp * others == world) return;
  problems.push_back({.code = "config.mesh.ranks",
                      .subject = text("the mesh does not fit ", world, world == 1 ? " rank" : " ranks"),
                      .found = text("mesh.dp = ", mesh.dp == 0 ? std::string("\"auto\"") : text(mesh.dp),
                                    ", mesh.tp = ", mesh.tp, ", mesh.pp = ", mesh.pp),
                      .expected = text("mesh.dp * mesh.tp * mesh.pp = ", world),
                      .fix = mesh.dp > 0 ? text("start ", mesh.dp * others, " ranks, or take ", meshes_of(world))
                                         : text("start a multiple of ", others, " ranks, or take ", meshes_of(world))});
}

/// Returns the ranks that take part.
std::int64_t fit_to_ranks(RunConfig& config, std::int64_t world, Work work) {
  auto& mesh = config.mesh;
  config.batch.shares.clear();
  auto const fits = [&] {
    auto const cut = mesh.tp * mesh.pp;
    return cut <= world && (work != Work::evaluation || world % cut == 0);
  };
  if (!fits()) mesh.pp = 1, config.pipeline = {};
  if (!fits()) mesh.tp = 1, config.parallel.split.clear();
  if (work == Work::generation) world = mesh.tp * mesh.pp;
  if (mesh.dp * mesh.tp * mesh.pp != world) mesh.dp = 0;  // what is left
  return world;
}

/// One share per replica, each of them enough for a sample.
void resolve_shares(RunConfig const& config, std::vector<ErrorInfo>& problems) {
  auto const& shares = config.batch.shares;
  if (shares.empty() || !problems.empty()) return;
  if (std::ssize(shares) != config.mesh.dp) {
    problems.push_back({.code = "config.batch.shares",
                        .subject = "batch.shares",
                        .found = text(shares.size(), " shares, mesh.dp = ", config.mesh.dp),
                        .expected = "one share per replica",
                        .fix = text("give ", config.mesh.dp, " of them, or []")});
    return;
  }
  auto const samples = replica_samples(config);
  auto const none = std::find(samples.begin(), samples.end(), 0);
  if (none == samples.end()) return;
  problems.push_back({.code = "config.batch.replicas",
                      .subject = text("replica ", none - samples.begin(), " would have no sample in any step"),
                      .found = text("batch.shares = [", join(shares), "], batch.global = ", config.batch.global,
                                    ", batch.micro = ", config.batch.micro),
                      .expected = "at least one micro-batch for each replica",
                      .fix = "raise batch.global, lower batch.micro, or take shares that are more alike"});
}

}  // namespace

void resolve(RunConfig& config, std::int64_t world_size, Work work) {
  std::vector<ErrorInfo> problems;
  if (world_size < 1) {
    fail({.code = "config.mesh.world",
          .subject = "the number of ranks",
          .found = text(world_size),
          .expected = "at least 1",
          .fix = "pass --ranks 1 or more"});
  }
  if (work != Work::training) world_size = fit_to_ranks(config, world_size, work);
  resolve_mesh(config.mesh, world_size, problems);
  auto& batch = config.batch;
  if (batch.per_replica > 0 && config.mesh.dp > 0) {
    batch.global = batch.per_replica * config.mesh.dp;
    batch.per_replica = 0;
  }
  if (work == Work::training && problems.empty() && batch.global < config.mesh.dp) {
    problems.push_back({.code = "config.batch.replicas",
                        .subject = "some replicas would have no sample in any step",
                        .found = text("batch.global = ", batch.global, ", mesh.dp = ", config.mesh.dp),
                        .expected = "batch.global >= mesh.dp",
                        .fix = text("raise batch.global to ", config.mesh.dp, " or more, or start at most ",
                                    batch.global * config.mesh.tp * config.mesh.pp, " ranks")});
  }
  resolve_shares(config, problems);
  auto& model = config.model;
  if (model.kind == "gpt" && (model.layers == 0 || model.hidden == 0 || model.heads == 0)) {
    problems.push_back({.code = "config.model.sizes",
                        .subject = "the sizes of the model are not known",
                        .found = text("layers = ", model.layers, ", hidden = ", model.hidden, ", heads = ", model.heads,
                                      ", init = \"", model.init, '"'),
                        .expected = "layers, hidden and heads, here or in the config.json that model.init names",
                        .fix = "give the three in [model]"});
  }
  if (model.ff == 0) model.ff = 4 * model.hidden;
  if (model.context == 0) model.context = Model().context;
  if (config.lr_schedule.decay_steps == 0) config.lr_schedule.decay_steps = config.run.steps;
  if (config.lr_schedule.min < 0) config.lr_schedule.min = config.optimizer.lr / 10;
  fail_if_any(problems);
}

std::vector<std::int64_t> replica_samples(RunConfig const& config) {
  auto const dp = config.mesh.dp, global = config.batch.global, micro = config.batch.micro;
  if (dp < 1 || micro < 1 || global < 1) {
    fail({.code = "config.batch.unresolved",
          .subject = "the number of micro-batches",
          .found = text("mesh.dp = ", config.mesh.dp, ", batch.global = ", config.batch.global,
                        ", batch.micro = ", config.batch.micro),
          .expected = "a resolved run",
          .fix = "call config::resolve first"});
  }
  std::vector<std::int64_t> samples(static_cast<std::size_t>(dp));
  auto const& shares = config.batch.shares;
  if (shares.size() != samples.size()) {
    for (std::int64_t r = 0; r < dp; ++r)
      samples[static_cast<std::size_t>(r)] = global / dp + (r < global % dp ? 1 : 0);
    return samples;
  }
  // Whole micro-batches as far as they go: a replica's last one is padded otherwise.
  auto const all = std::accumulate(shares.begin(), shares.end(), std::int64_t{0}),
             passes = (global + micro - 1) / micro;
  std::int64_t shared = 0, before = 0;
  for (std::size_t r = 0; r < samples.size(); ++r) {
    shared += shares[r];
    auto const end = std::min(global, (2 * passes * shared + all) / (2 * all) * micro);
    samples[r] = end - before;
    before = end;
  }
  return samples;
}

std::int64_t micro_batches(RunConfig const& config) {
  auto const samples = replica_samples(config);
  return (*std::max_element(samples.begin(), samples.end()) + config.batch.micro - 1) / config.batch.micro;
}

}  // namespace lamina::config
