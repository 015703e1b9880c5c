#include <algorithm>

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

std::int64_t micro_batches(RunConfig const& config) {
  auto const per_pass = config.mesh.dp * config.batch.micro;
  if (per_pass < 1 || config.batch.global < 1) {
    fail({.code = "config.batch.unresolved",
          .subject = "the number of micro-batches",
          .found = text("mesh.dp = ", config.mesh.dp, ", batch.global = ", config.batch.global,
                        ", batch.micro = ", config.batch.micro),
          .expected = "a resolved run",
          .fix = "call config::resolve first"});
  }
  return (config.batch.global + per_pass - 1) / per_pass;
}

}  // namespace lamina::config
