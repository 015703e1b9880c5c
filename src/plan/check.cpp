#include "plan/detail/check.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "plan/detail/memory.hpp"
#include "plan/detail/parts.hpp"
#include "plan/detail/sections.hpp"
#include "plan/detail/traffic.hpp"

namespace lamina::plan {
namespace {

graph::Value const* find_batch(graph::Graph const& graph) {
  for (auto const& v : graph.values()) {
    if (v.role == Role::input && !v.dims.empty() && v.dims.front() == "batch") return &v;
  }
  return nullptr;
}

/// Replicas of unlike numbers of micro-batches cannot reduce gradients after each of them.
void require_shares(Plan const& plan) {
  auto const& shares = plan.config.batch.shares;
  if (shares.empty()) return;
  auto const replicas = static_cast<std::size_t>(plan.mesh.size("dp"));
  if (shares.size() != replicas) {
    fail({.code = "plan.batch.shares",
          .subject = "batch.shares",
          .found = text(shares.size(), " shares, mesh.dp = ", replicas),
          .expected = "one share per replica",
          .fix = text("give ", replicas, " shares, or none for like replicas")});
  }
  if (plan.zero < 2) return;
  fail({.code = "plan.batch.shares_zero",
        .subject = "batch.shares",
        .found = text("batch.shares = [", join(shares), "], parallel.zero = ", plan.zero),
        .expected = "parallel.zero = 0 or 1: stages 2 and 3 reduce gradients after every micro-batch, and all replicas "
                    "must take part in each reduction",
        .fix = "set parallel.zero = 1, or leave batch.shares out"});
}

/// One table of actions is for one number of micro-batches.
void require_like_replicas_for_a_schedule_file(Plan const& plan) {
  if (plan.config.pipeline.schedule != "file" || plan.purpose != Purpose::train) return;
  auto const counts = replica_micro_batches(plan.config);
  auto const [fewest, most] = std::minmax_element(counts.begin(), counts.end());
  if (*fewest == *most) return;
  fail({.code = "plan.batch.shares_file",
        .subject = "batch.shares with pipeline.schedule = \"file\"",
        .found = text("replicas of ", *fewest, " to ", *most, " micro-batches, and one table of actions"),
        .expected = "as many micro-batches in every replica as the file has: the order of one number of them says "
                    "nothing about another",
        .fix = "leave batch.shares out, or take schedule = \"1f1b\""});
}

std::int64_t persistent_bytes(program::Template const& shape, std::initializer_list<Role> roles) {
  std::int64_t bytes = 0;
  for (auto const& b : shape.buffers) {
    if (b.program < 0 && std::find(roles.begin(), roles.end(), b.role) != roles.end()) bytes += b.bytes;
  }
  return bytes;
}

/// Bytes of the persistent buffers by role, the transient ones of the worst program and what communication keeps,
/// largest first.
std::vector<std::pair<std::int64_t, std::string>> consumers(Plan const& plan, std::size_t kind) {
  auto const& shape = *plan.shapes[kind];
  std::vector<std::pair<std::int64_t, std::string>> rows;
  for (int r = 0; r <= static_cast<int>(Role::cache); ++r) {
    auto const role = static_cast<Role>(r);
    if (auto const bytes = persistent_bytes(shape, {role}); bytes > 0)
      rows.emplace_back(bytes, text(name_of(role), " buffers"));
  }
  std::int64_t persistent = 0;
  for (auto const& row : rows) persistent += row.first;
  auto const transient = shape.arena_bytes[static_cast<std::size_t>(program::Space::host)] - persistent;
  rows.emplace_back(transient, "activations and scratch");
  rows.emplace_back(communication_scratch_bytes(plan, kind), "communication scratch");
  std::stable_sort(rows.begin(), rows.end(), [](auto const& a, auto const& b) { return a.first > b.first; });
  return rows;
}

/// The kind of rank that needs most.
std::size_t fullest(Plan const& plan) {
  std::size_t most = 0;
  for (std::size_t k = 1; k < plan.shapes.size(); ++k) {
    if (kind_bytes(plan, k) > kind_bytes(plan, most)) most = k;
  }
  return most;
}

/// The pp coordinate whose fullest rank needs least, and what that is.
std::pair<int, std::int64_t> leanest_coordinate(Plan const& plan) {
  std::vector<std::int64_t> most(static_cast<std::size_t>(plan.mesh.size("pp")), 0);
  for (std::size_t k = 0; k < plan.kinds.size(); ++k) {
    auto& m = most[static_cast<std::size_t>(plan.kinds[k].stage)];
    m = std::max(m, kind_bytes(plan, k));
  }
  auto const least = std::min_element(most.begin(), most.end());
  return {static_cast<int>(least - most.begin()), *least};
}

/// "ranks 4-7 (pp coordinate 1) need", and how many others are above the limit too.
std::string who_needs(Plan const& plan, std::size_t kind, std::int64_t limit) {
  if (plan.mesh.world() == 1) return "the rank needs";
  auto const ranks = ranks_at(plan, nullptr, static_cast<int>(kind));
  std::int64_t others = 0;
  auto const count = ranks_per_kind(plan);
  for (std::size_t k = 0; k < plan.kinds.size(); ++k) others += k != kind && kind_bytes(plan, k) > limit ? count[k] : 0;
  auto const where = plan.mesh.size("pp") > 1 ? text(" (pp coordinate ", plan.kinds[kind].stage, ")") : "";
  auto const too = others > 0 ? text(", and ", others, others == 1 ? " other rank, need" : " other ranks, need")
                              : std::string(ranks.size() == 1 ? " needs" : " need");
  return text(ranks.size() == 1 ? "rank " : "ranks ", rank_list(ranks), where, too);
}

/// Ways that can bring the plan below the limit, and why the obvious ones cannot where the model alone is above it.
std::string what_helps(Plan const& plan, std::size_t kind, std::int64_t limit) {
  auto const& shape = *plan.shapes[kind];
  bool const train = plan.purpose == Purpose::train;
  // f32 whatever the precision of the compute.
  auto const state = persistent_bytes(shape, {Role::parameter, Role::gradient, Role::moment1, Role::moment2});
  auto const kept =
      state + persistent_bytes(shape, {Role::packed, Role::cache}) + communication_scratch_bytes(plan, kind);
  std::vector<std::string> ways;
  if (kept <= limit && plan.config.batch.micro > 1 && plan.purpose != Purpose::generate)
    ways.emplace_back("a smaller batch.micro");
  if (state <= limit && plan.config.precision.compute == "f32") ways.emplace_back("precision.compute = \"bf16\"");
  // One moment instead of two.
  if (train && plan.config.optimizer.kind == "adamw" && state - persistent_bytes(shape, {Role::moment2}) <= limit)
    ways.emplace_back("optimizer.kind = \"sgd\"");
  if (train && plan.config.memory.recompute == "none" && kept <= limit) {
    ways.emplace_back("memory.recompute = \"selective\" or \"full\"");
  }
  if (train && plan.zero < (plan.config.batch.shares.empty() ? 3 : 1) && plan.mesh.size("dp") > 1) {
    ways.push_back(text("parallel.zero = ", plan.zero + 1));
  }
  if (plan.mesh.size("tp") > 1 && !plan.config.parallel.sequence_parallel && kept <= limit) {
    ways.emplace_back("parallel.sequence_parallel = true");
  }
  if (train && plan.mesh.size("pp") > 1) {
    if (plan.config.pipeline.schedule == "gpipe" && kept <= limit) ways.emplace_back("pipeline.schedule = \"1f1b\"");
    if (auto const c = leanest_coordinate(plan); c.second <= limit) {
      ways.push_back(text("fewer layers at pp coordinate ", plan.kinds[kind].stage, " (pipeline.stages; coordinate ",
                          c.first, " needs only ", human_bytes(c.second), ")"));
    }
  }
  ways.emplace_back("more ranks with mesh.tp or mesh.pp");
  ways.emplace_back(state <= limit ? "a smaller model or context" : "a smaller model");
  ways.emplace_back("a higher memory.limit where the machine has more");
  if (kept <= limit) return join(ways);
  auto const what = state <= limit ? "what stays between the steps needs "
                    : train        ? "parameters, gradients and moments alone need "
                                   : "the parameters alone need ";
  return text(join(ways), "; a smaller batch.micro does not help: ", what, human_bytes(state <= limit ? kept : state),
              " on that rank");
}

}  // namespace

void require_request(Plan const& plan, Graphs const& graphs) {
  require_shares(plan);
  auto const& batch = plan.config.batch;
  std::int64_t const dp = plan.mesh.size("dp");
  if (batch.micro < 1 || batch.global < 1) {
    fail({.code = "plan.batch.size",
          .subject = "the batch",
          .found = text("batch.global = ", batch.global, ", batch.micro = ", batch.micro),
          .expected = "both at least 1",
          .fix = "resolve the run file first, or set both"});
  }
  if (plan.purpose == Purpose::train && batch.global < dp) {
    fail({.code = "plan.batch.replicas",
          .subject = "some replicas would have no sample",
          .found = text("batch.global = ", batch.global, ", mesh.dp = ", dp),
          .expected = "batch.global >= mesh.dp",
          .fix =
              text("set batch.global = ", (batch.global / dp + 1) * dp, ", or take at most ", batch.global, " ranks")});
  }
  require_like_replicas_for_a_schedule_file(plan);
  if (plan.purpose == Purpose::generate) return;
  for (auto const* graph : {&graphs.train, &graphs.eval}) {
    auto const* input = find_batch(*graph);
    if (input == nullptr || input->spec.shape[0] == dp * batch.micro) continue;
    fail({.code = "plan.batch.micro",
          .subject = text("input '", input->name, "' of the graph"),
          .found = text(input->spec.shape[0], " samples, mesh.dp = ", dp, ", batch.micro = ", batch.micro),
          .expected = text("one global micro-batch, mesh.dp * batch.micro = ", dp * batch.micro, " samples"),
          .fix = text("build the graph with batch = ", dp * batch.micro)});
  }
}

void require_memory(Plan const& plan) {
  auto limit = plan.config.memory.limit;
  if (limit == 0 || (plan.machine.memory_bytes > 0 && plan.machine.memory_bytes < limit)) {
    limit = plan.machine.memory_bytes;
  }
  auto const peak = peak_bytes(plan);
  if (limit == 0 || peak <= limit) return;
  auto const kind = fullest(plan);
  auto const& shape = *plan.shapes[kind];
  std::vector<std::string> rows;
  for (auto const& [bytes, what] : consumers(plan, kind)) {
    if (bytes > 0 && rows.size() < 5) rows.push_back(text(what, " ", human_bytes(bytes)));
  }
  std::vector<program::Buffer const*> largest;
  for (auto const& b : shape.buffers) largest.push_back(&b);
  std::stable_sort(largest.begin(), largest.end(), [](auto* a, auto* b) { return a->bytes > b->bytes; });
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, largest.size()); ++i) {
    names.push_back(text(largest[i]->name, " (", largest[i]->role, ") ", human_bytes(largest[i]->bytes)));
  }
  fail({.code = "plan.memory.limit",
        .subject = text(who_needs(plan, kind, limit), " more memory than a rank may have"),
        .found = text(human_bytes(peak), " (", peak, " bytes): ", join(rows), "; largest buffers: ", join(names)),
        .expected = text("at most ", human_bytes(limit), " (", limit, " bytes) per rank"),
        .fix = text("try ", what_helps(plan, kind, limit),
                    plan.purpose == Purpose::train ? "; `lamina plan --fit` looks for the smallest change" : "")});
}

}  // namespace lamina::plan
