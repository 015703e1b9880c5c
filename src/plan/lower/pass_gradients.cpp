// Gradients: which are reduced together, over which groups, and who counts them in the norm.
#include <algorithm>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/update.hpp"
#include "plan/detail/pass.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

namespace {

Step reduction(StepKind kind, std::vector<int> in, std::vector<int> out, std::string layer) {
  Step step;
  step.kind = kind;
  step.attributes.set("reduce", std::string("sum"));
  step.in = std::move(in), step.out = std::move(out);
  step.layer = std::move(layer);
  return step;
}

}  // namespace

/// The last writer of every gradient; with ZeRO 2 and 3 that of each action, because what an action leaves is reduced
/// at once. By (action or 0, state).
std::map<std::pair<int, int>, Pass::Final> Pass::find_finals(std::vector<Action> const& actions) const {
  std::map<std::pair<int, int>, Final> last;
  for (std::size_t a = 0; a < actions.size(); ++a) {
    auto const& list = nodes(actions[a]);
    for (std::size_t n = 0; n < list.size(); ++n) {
      auto const& node = part_.graph.node(list[n]);
      for (std::size_t o = 0; o < node.out.size(); ++o) {
        int const state = part_.graph.value(node.out[o]).accumulates_into;
        if (state < 0 || part_.graph.value(state).role != Role::gradient) continue;
        if (late_.where.contains({a, node.id})) continue;
        auto const action = static_cast<int>(a);
        last[{plan_.zero >= 2 ? action : 0, state}] = {.action = action,
                                                       .place = static_cast<int>(n),
                                                       .node = node.id,
                                                       .output = static_cast<int>(o),
                                                       .state = state};
      }
    }
  }
  return last;
}

/// Gradients in the order in which their last writer runs. Those that go over the same groups fill a bucket up to
/// parallel.bucket. Replicas reduce in one order, also where they have other numbers of micro-batches, and thus other
/// orders of actions: that of the longest schedule.
void Pass::plan_buckets() {
  auto const& longest = part_.schedules.rbegin()->second.actions[static_cast<Index>(kind_.stage)];
  std::vector<Final> order;
  for (auto const& [key, f] : find_finals(longest)) order.push_back(f);
  std::sort(order.begin(), order.end(), [](Final const& a, Final const& b) {
    return std::tuple(a.action, a.place, a.output) < std::tuple(b.action, b.place, b.output);
  });
  std::map<std::pair<std::vector<std::size_t>, std::vector<int>>, Index> open;  // by groups
  for (auto const& f : order) {
    auto const axes = part_.layouts.partial_axes(f.state);
    auto const& v = part_.graph.value(f.state);
    auto const& holders = plan_.holders_of(v.name);
    bool const tied = holders.size() > 1;
    auto const key = std::pair(axes, tied ? holders : std::vector<int>{});
    auto const bytes = plan_.local_spec(part_, f.state).bytes();
    auto const at = open.find(key);
    // A bucket that grew after a late sum would reduce it once more. Holders of tied ones have no order in common but
    // that of names: all in one bucket.
    bool const alone = std::find(late_.before.begin(), late_.before.end(), f.state) != late_.before.end();
    bool const known = !alone && at != open.end() && (plan_.zero < 2 || buckets_[at->second].action == f.action);
    bool const fits =
        known && ((tied && plan_.zero < 2) || buckets_[at->second].bytes + bytes <= plan_.config.parallel.bucket);
    if (!fits) {
      if (!alone) open[key] = buckets_.size();
      buckets_.push_back({.gradients = {}, .bytes = 0, .axes = axes, .tied = tied});
    }
    auto& bucket = fits ? buckets_[at->second] : buckets_.back();
    bucket.gradients.push_back(f.state);
    bucket.bytes += bytes;
    bucket.action = f.action, bucket.place = f.place, bucket.node = f.node;
  }
  std::stable_sort(buckets_.begin(), buckets_.end(), [](Bucket const& a, Bucket const& b) {
    return std::pair(a.action, a.place) < std::pair(b.action, b.place);
  });
  if (plan_.zero >= 2) return;
  auto const own = find_finals(actions());
  Bucket const* before = nullptr;
  for (auto& bucket : buckets_) {
    if (bucket.tied) {
      std::ranges::sort(
          bucket.gradients, {}, [&](int g) -> auto const& { return part_.graph.value(g).name; });
    }
    bucket.action = -1;
    auto const come_to = [&bucket](int action, int place, int node) {
      if (std::pair(action, place) <= std::pair(bucket.action, bucket.place)) return;
      bucket.action = action, bucket.place = place, bucket.node = node;
    };
    for (int const g : bucket.gradients) {
      auto const& f = own.at({0, g});
      come_to(f.action, f.place, f.node);
    }
    if (before) come_to(before->action, before->place, before->node);
    before = &bucket;
  }
}

/// Where the nodes of an action add to a gradient: the persistent buffer, or the action's own whole one.
int Pass::gradient_buffer(int state, std::size_t action) {
  auto const& v = part_.graph.value(state);
  if (plan_.zero < 2) return buffers_.find(v.name, Role::gradient);
  auto const [at, is_new] = full_gradients_.try_emplace({action, state}, -1);
  if (is_new) {
    at->second =
        buffers_.transient(writer_.index(), text(v.name, ".gradient@", action), plan_.local_spec(part_, state));
  }
  return at->second;
}

/// Without overlap nothing is reduced before the last backward has ended.
int Pass::reduce_over(std::string const& group, Step step) {
  if (!plan_.config.parallel.overlap && writer_.last_compute() >= 0) step.after = {writer_.last_compute()};
  return writer_.communicate(group, std::move(step));
}

void Pass::reduce(Bucket const& bucket) {
  std::vector<int> ids;
  for (int const g : bucket.gradients) ids.push_back(gradient_buffer(g, static_cast<std::size_t>(bucket.action)));
  auto const name = text("bucket.", &bucket - buckets_.data());
  bool over_replicas = false;
  for (auto const a : bucket.axes) {
    auto const& axis = plan_.mesh.axes[a];
    if (axis == "dp") {
      over_replicas = true;
    } else {
      reduce_over(axis, reduction(StepKind::all_reduce, ids, ids, name));
    }
  }
  if (bucket.tied && plan_.zero < 2) {
    auto const& holders = plan_.holders_of(part_.graph.value(bucket.gradients.front()).name);
    reduce_over(tie_group(holders), reduction(StepKind::all_reduce, ids, ids, name));
  }
  if (!over_replicas) return;
  if (plan_.zero == 0) {
    reduce_over("dp", reduction(StepKind::all_reduce, ids, ids, name));
  } else {
    reduce_over_replicas(bucket, ids);
  }
}

/// With ZeRO 2 and 3 one reduction is in flight beside the compute: the one before it is settled when it starts.
void Pass::reduce_over_replicas(Bucket const& bucket, std::vector<int> const& whole) {
  auto const earlier = std::exchange(adds_, {});
  std::vector<int> parts;
  std::vector<std::string> rows;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    int const state = bucket.gradients[i];
    auto const& v = part_.graph.value(state);
    auto const flat = flat_rows(buffers_[whole[i]].spec.shape);
    rows.push_back(rows_text(row_bounds(flat.rows, plan_.mesh.size("dp"))));
    int const own = buffers_.find(v.name, Role::gradient);
    if (plan_.zero == 1) {
      parts.push_back(whole[i]);
    } else if (started_.insert(state).second) {
      parts.push_back(own);
    } else {
      parts.push_back(buffers_.transient(writer_.index(), text(v.name, ".part@", bucket.action), buffers_[own].spec));
      adds_.push_back({own, parts.back()});
    }
  }
  auto step = reduction(StepKind::reduce_scatter, whole, parts, text("bucket.", &bucket - buckets_.data()));
  step.attributes.set("rows", join(rows, ";"));
  step.attributes.set("flat", std::int64_t{1});
  int const started = reduce_over("dp", std::move(step));
  if (plan_.zero >= 2) settle(std::exchange(reduction_, started), earlier);
}

/// Waits for a reduction, so that the whole gradients are free, and adds the parts that have arrived.
void Pass::settle(int reduction, std::vector<PendingAdd> const& adds) {
  if (reduction >= 0) writer_.wait_for(reduction);
  for (auto const& a : adds) writer_.kernel(graph::Add(), {a.part, a.addend}, {a.part}, "gradients");
}

void Pass::finish_gradients() {
  while (next_bucket_ < buckets_.size()) reduce(buckets_[next_bucket_++]);
  if (plan_.zero < 2) return;
  settle(reduction_, std::exchange(adds_, {}));
  std::map<std::string, int> tied;  // in one order on all holders
  for (auto const& bucket : buckets_) {
    for (int const g : bucket.gradients) {
      auto const& name = part_.graph.value(g).name;
      if (bucket.tied) tied[name] = buffers_.find(name, Role::gradient);
    }
  }
  for (auto const& [name, id] : tied) {
    reduce_over(tie_group(plan_.holders_of(name)), reduction(StepKind::all_reduce, {id}, {id}, name));
  }
}

/// Sums of squares of those of the gradients that this rank owns and has not counted yet: each global element is
/// counted once over all ranks. Replicated and tied ones belong to their lowest holder.
void Pass::count_norm(std::vector<int> const& gradients) {
  std::map<std::string, std::vector<int>> whole;     // holder -> gradients
  std::vector<std::pair<std::string, int>> by_rows;  // ZeRO 1: own rows of what is whole
  for (int const g : gradients) {
    auto const& v = part_.graph.value(g);
    if (!counted_.insert(g).second || plan_.holders_of(v.name).front() != kind_.stage) continue;
    std::vector<std::string> axes;
    for (std::size_t a = 0; a < plan_.mesh.axes.size(); ++a) {
      auto const& axis = plan_.mesh.axes[a];
      bool const cut = part_.layouts.at(v.parameter, -1, a).split == Split::shard;
      if (plan_.mesh.sizes[a] > 1 && !cut && axis != "pp" && (axis != "dp" || plan_.zero == 0)) axes.push_back(axis);
    }
    auto const holder = join(axes, ",");
    int const id = buffers_.find(v.name, Role::gradient);
    if (plan_.zero == 1) {
      by_rows.emplace_back(holder, id);
    } else {
      whole[holder].push_back(id);
    }
  }
  auto const count = [&](std::string const& holder, std::vector<int> const& ids, std::string const& rows) {
    graph::SquareNorm const op(static_cast<int>(ids.size()), plan_.canonical());
    Step step;
    step.attributes = op.attributes();
    if (!holder.empty()) step.attributes.set("holder", holder);
    if (!rows.empty()) step.attributes.set("rows", rows), step.attributes.set("rows_axis", std::string("dp"));
    step.layer = "norm";
    std::vector<TensorSpec> specs;
    for (int const b : ids) specs.push_back(buffers_[b].spec);
    writer_.kernel(op, specs, ids, {buffers_.find("norm", Role::output)}, std::move(step));
    has_norm_ = true;
  };
  for (auto const& [holder, ids] : whole) count(holder, ids, "");
  for (auto const& [holder, id] : by_rows) {
    auto const rows = flat_rows(buffers_[id].spec.shape).rows;
    count(holder, {id}, rows_text(row_bounds(rows, plan_.mesh.size("dp"))));
  }
}

/// What the last sums do not change, before them: the processor has something to do while they wait for the last
/// bucket.
void Pass::count_norm_of_reduced() {
  for (std::size_t b = 0; b < next_bucket_; ++b) {
    if (buckets_[b].tied) continue;  // they wait for another stage
    auto rest = buckets_[b].gradients;
    std::erase_if(rest, [&](int g) { return std::ranges::find(late_.before, g) != late_.before.end(); });
    count_norm(rest);
  }
}

void Pass::norm() {
  bool const waits = std::ranges::any_of(buckets_, [](Bucket const& b) { return b.tied || !b.axes.empty(); });
  if (plan_.zero >= 2 || !waits) {  // no bucket is worth a step of its own
    std::vector<int> all;
    for (auto const& bucket : buckets_) all.insert(all.end(), bucket.gradients.begin(), bucket.gradients.end());
    count_norm(all);
  }
  for (auto const& bucket : buckets_) count_norm(bucket.gradients);  // as they arrive
  count_norm(late_.alone);
  if (!has_norm_) writer_.kernel("zero", {}, {buffers_.find("norm", Role::output)});
}

}  // namespace lamina::plan
