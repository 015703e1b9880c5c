#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"

/// Large worlds of pipeline stages for the verifier, in moments and without a plan.
namespace lamina::test {

using namespace program;  // NOLINT: test support

/// rank = (pp * DP + dp) * TP + tp, as the run file's default order.
struct Mesh {
  int pp, dp, tp;
  int world() const { return pp * dp * tp; }
  int rank(int p, int d, int t) const { return (p * dp + d) * tp + t; }
};

namespace stages {

inline int add_group(Template& t, Program& p, std::string const& name, std::string const& axis) {
  int const id = static_cast<int>(t.groups.size());
  t.groups.push_back({name, axis});
  p.streams.push_back({"comm." + name, id});
  return id;
}

struct Stage {
  bool first, last;
  int micro_batches, layers, warm_up;
};

/// 1F1B over one stage: per layer and micro-batch two kernels and one tp all-reduce each way, a dp all-reduce per
/// layer during the last backward. Activations of a micro-batch are in a slot that later micro-batches take over.
class StageProgram {
 public:
  StageProgram(Stage const& stage, std::string const& in, std::string const& out) : stage_(stage) {
    p_.name = "forward_backward";
    p_.streams.push_back({"compute"});
    control_ = add_group(t_, p_, "control", "");
    dp_ = add_group(t_, p_, "dp", "dp");
    tp_ = add_group(t_, p_, "tp", "tp");
    if (!stage.first) from_before_ = add_group(t_, p_, in, "pp"), to_before_ = add_group(t_, p_, in + ".back", "pp");
    if (!stage.last) to_next_ = add_group(t_, p_, out, "pp"), from_next_ = add_group(t_, p_, out + ".back", "pp");
    for (int l = 0; l < stage.layers; ++l) grads_.push_back(add_buffer(text("dw", l), Role::gradient));
    for (int f = 0, b = 0; b < stage_.micro_batches;) {
      if (f < stage_.micro_batches && f - b < stage_.warm_up) {
        forward(f++);
      } else {
        backward(b++);
      }
    }
    int const last = last_compute_;
    add({.kind = StepKind::all_reduce, .in = {grads_[0]}, .out = {grads_[0]}, .group = control_, .after = {last}});
    p_.steps.back().after.push_back(last_dp_);
    t_.programs.push_back(std::move(p_));
    t_.arena_bytes = {end_ + slot_bytes() * stage_.warm_up, 0, 0, 0};
  }

  std::shared_ptr<Template const> take() { return std::make_shared<Template const>(std::move(t_)); }

 private:
  std::int64_t slot_bytes() const { return 64 * (4 * stage_.layers + 6); }

  int add_buffer(std::string name, Role role) {
    t_.buffers.push_back({.name = std::move(name),
                          .role = role,
                          .spec = {DType::f32, {16}},
                          .global_shape = {16},
                          .offset = end_,
                          .bytes = 64});
    end_ += 64;
    return static_cast<int>(t_.buffers.size()) - 1;
  }
  int add_transient(int m) {
    int const slot = m % stage_.warm_up;
    auto& next = slots_[static_cast<std::size_t>(slot)];
    t_.buffers.push_back({.name = text("x@", m),
                          .spec = {DType::f32, {16}},
                          .global_shape = {16},
                          .offset = 64 * stage_.layers + slot * slot_bytes() + 64 * next++,
                          .bytes = 64,
                          .program = 0});
    return static_cast<int>(t_.buffers.size()) - 1;
  }
  int add(Step s) {
    int const id = static_cast<int>(p_.steps.size());
    if (is_communication(s.kind)) s.stream = s.group + 1;
    if (!is_communication(s.kind)) last_compute_ = id;
    p_.steps.push_back(std::move(s));
    return id;
  }
  int kernel(int in, int out, int m, std::vector<int> after) {
    return add({.op = "linear", .in = {in}, .out = {out}, .micro_batch = m, .after = std::move(after)});
  }
  int tp_reduce(int buffer, int m) {
    return add({.kind = StepKind::all_reduce,
                .in = {buffer},
                .out = {buffer},
                .group = tp_,
                .micro_batch = m,
                .after = {last_compute_}});
  }
  int layer(int x, int m, int& wait) {
    int const y = add_transient(m), z = add_transient(m);
    kernel(x, y, m, wait < 0 ? std::vector<int>{} : std::vector{wait});
    kernel(y, z, m, {});
    wait = tp_reduce(z, m);
    return z;
  }
  void forward(int m) {
    slots_.resize(static_cast<std::size_t>(stage_.warm_up));
    slots_[static_cast<std::size_t>(m % stage_.warm_up)] = 0;
    int x = add_transient(m), wait = -1;
    // The slot's last micro-batch is through when its backward is computed and both its messages are sent.
    std::vector<int> free{last_compute_, last_tp_};
    if (auto const before = m - stage_.warm_up; before >= 0) {
      free.push_back(sent_[static_cast<std::size_t>(before)]);
      free.push_back(grad_sent_[static_cast<std::size_t>(before)]);
    }
    sent_.push_back(-1);
    if (stage_.first) {
      add({.op = "embedding", .out = {x}, .micro_batch = m, .after = known(free)});
    } else {
      wait = add({.kind = StepKind::recv,
                  .out = {x},
                  .group = from_before_,
                  .peer = 0,
                  .micro_batch = m,
                  .after = known(free)});
    }
    for (int l = 0; l < stage_.layers; ++l) x = layer(x, m, wait), last_tp_ = wait;
    outputs_.push_back(x);
    if (!stage_.last)
      sent_.back() =
          add({.kind = StepKind::send, .in = {x}, .group = to_next_, .peer = 1, .micro_batch = m, .after = {wait}});
  }
  void backward(int m) {
    int g = add_transient(m), wait = last_tp_;
    grad_sent_.push_back(-1);
    if (stage_.last) {
      kernel(outputs_[static_cast<std::size_t>(m)], g, m, {wait});
      wait = -1;
    } else {
      wait = add({.kind = StepKind::recv,
                  .out = {g},
                  .group = from_next_,
                  .peer = 1,
                  .micro_batch = m,
                  .after = known({sent_[static_cast<std::size_t>(m)]})});
    }
    for (int l = stage_.layers - 1; l >= 0; --l) {
      g = layer(g, m, wait), last_tp_ = wait;
      int const dw = grads_[static_cast<std::size_t>(l)];
      add({.op = "linear_grad_weight",
           .attributes = {{"accumulate", std::int64_t{m > 0}}},
           .in = {g},
           .out = {dw},
           .micro_batch = m,
           .after = {wait}});
      if (m + 1 == stage_.micro_batches)
        last_dp_ = add({.kind = StepKind::all_reduce, .in = {dw}, .out = {dw}, .group = dp_, .after = {last_compute_}});
    }
    if (!stage_.first)
      grad_sent_.back() =
          add({.kind = StepKind::send, .in = {g}, .group = to_before_, .peer = 0, .micro_batch = m, .after = {wait}});
  }
  static std::vector<int> known(std::vector<int> steps) {
    std::erase(steps, -1);
    return steps;
  }

  Stage stage_;
  Template t_;
  Program p_;
  int control_ = -1, dp_ = -1, tp_ = -1, from_before_ = -1, to_before_ = -1, to_next_ = -1, from_next_ = -1;
  int last_compute_ = -1, last_tp_ = -1, last_dp_ = -1;
  std::int64_t end_ = 0;
  std::vector<int> grads_, outputs_, slots_, sent_, grad_sent_;
};

}  // namespace stages

/// Neighbour groups alternate between two names, so that all middle stages of one parity share a template.
inline std::vector<ProgramSet> make_stages(Mesh const& mesh, int micro_batches, int layers, int stuck_stage = -1,
                                           bool gpipe = false) {
  std::map<std::tuple<bool, bool, int, int>, std::shared_ptr<Template const>> known;
  std::vector<ProgramSet> sets;
  std::vector<int> everybody;
  for (int r = 0; r < mesh.world(); ++r) everybody.push_back(r);
  for (int p = 0; p < mesh.pp; ++p) {
    // A stage that is stuck wants more forwards before its first backward than the stage before it gives.
    int const warm_up = gpipe ? micro_batches : p == stuck_stage ? mesh.pp + 2 : mesh.pp - p;
    stages::Stage const stage{p == 0, p + 1 == mesh.pp, micro_batches, layers, warm_up};
    auto& shape = known[{stage.first, stage.last, p % 2, warm_up}];
    if (!shape)
      shape = stages::StageProgram(stage, text("pp.", (p + 1) % 2, ">", p % 2), text("pp.", p % 2, ">", (p + 1) % 2))
                  .take();
    for (int d = 0; d < mesh.dp; ++d) {
      for (int t = 0; t < mesh.tp; ++t) {
        Binding b{.rank = mesh.rank(p, d, t),
                  .world = mesh.world(),
                  .axes = {"pp", "dp", "tp"},
                  .coordinates = {p, d, t},
                  .members = {everybody}};
        auto& dp = b.members.emplace_back();
        for (int i = 0; i < mesh.dp; ++i) dp.push_back(mesh.rank(p, i, t));
        auto& tp = b.members.emplace_back();
        for (int i = 0; i < mesh.tp; ++i) tp.push_back(mesh.rank(p, d, i));
        if (!stage.first) b.members.insert(b.members.end(), 2, {mesh.rank(p - 1, d, t), b.rank});
        if (!stage.last) b.members.insert(b.members.end(), 2, {b.rank, mesh.rank(p + 1, d, t)});
        sets.push_back({shape, std::move(b)});
      }
    }
  }
  return sets;
}

}  // namespace lamina::test
