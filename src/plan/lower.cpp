#include <algorithm>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/update.hpp"
#include "plan/detail/lowering.hpp"
#include "plan/detail/memory.hpp"

namespace lamina::plan {
namespace {

class Lowering {
 public:
  Lowering(Plan const& plan, bool owns) : plan_(plan), owns_(owns), buffers_(plan, shape_) {}

  program::Template run() {
    if (plan_.mesh.size("dp") > 1) shape_.groups.push_back({.name = "dp", .axis = "dp"});
    if (plan_.mesh.world() > 1) shape_.groups.push_back({.name = "control", .axis = ""});
    buffers_.add_persistent();
    for (auto const& part : plan_.parts) {
      if (part.program != "forward_backward") continue;
      forward_backward(part);
    }
    if (plan_.purpose != Purpose::generate) control();
    if (plan_.purpose == Purpose::train) update(plan_.parts.front());
    refresh();
    for (auto const& part : plan_.parts) {
      if (part.program != "forward_backward") forward(part);
    }
    place_transients(shape_, buffers_.place_persistent());
    return std::move(shape_);
  }

 private:
  void forward_backward(Part const& part) {
    ProgramWriter writer(plan_, shape_, buffers_, part.program);
    int reduced = -1;
    auto const reduce = [&](std::size_t b) { reduced = reduce_bucket(writer, part, b); };
    for (std::int64_t m = 0; m < plan_.micro_batches; ++m) {
      for (auto const& node : part.graph.nodes()) {
        if (node.phase == graph::Phase::update) continue;
        writer.node(part, node, m);
        if (m + 1 < plan_.micro_batches || !plan_.config.parallel.overlap) continue;
        for (std::size_t b = 0; b < plan_.buckets.size(); ++b) {
          if (plan_.buckets[b].complete == node.id) reduce(b);
        }
      }
    }
    for (std::size_t b = 0; b < plan_.buckets.size() && !plan_.config.parallel.overlap; ++b) {
      reduce(b);
    }
    norm(writer, reduced);
  }

  /// On the stream of the axis, after the last compute step so far; nothing when the gradients are whole already.
  int reduce_bucket(ProgramWriter& writer, Part const& part, std::size_t b) {
    auto const& bucket = plan_.buckets[b];
    bool const partial = std::any_of(part.layouts.conversions.begin(), part.layouts.conversions.end(),
                                     [&](Conversion const& c) { return c.value == bucket.gradients.front(); });
    if (!partial) return -1;
    std::vector<int> ids;
    for (int const g : bucket.gradients) ids.push_back(buffers_.find(part.graph.value(g).name, Role::gradient));
    return writer.all_reduce("dp", ids, {writer.last_compute()}, text("bucket.", b));
  }

  /// Sum of squares of the gradients this rank owns: each global element is counted once over all ranks.
  void norm(ProgramWriter& writer, int reduced) {
    int const norm = buffers_.find("norm", Role::output);
    std::vector<int> gradients;
    for (auto const& bucket : plan_.buckets) {
      for (int const g : bucket.gradients) {
        gradients.push_back(buffers_.find(plan_.parts.front().graph.value(g).name, Role::gradient));
      }
    }
    int const step = owns_ && !gradients.empty() ? writer.kernel(graph::SquareNorm(static_cast<int>(gradients.size())),
                                                                 gradients, {norm}, "norm")
                                                 : writer.kernel("zero", {}, {norm});
    if (owns_ && reduced >= 0) writer.step(step).after = {reduced};
  }

  void control() {
    ProgramWriter writer(plan_, shape_, buffers_, "control");
    if (plan_.mesh.world() > 1) writer.all_reduce("control", {buffers_.find("control", Role::input)}, {}, "control");
  }

  void update(Part const& part) {
    ProgramWriter writer(plan_, shape_, buffers_, "update");
    for (auto const& node : part.graph.nodes()) {
      if (node.phase != graph::Phase::update) continue;
      writer.node(part, node, 0);
      for (int const o : node.out) {
        auto const& v = part.graph.value(o);
        if (v.role == Role::parameter) refresh(writer, part.graph.value(v.overwrites).name);
      }
    }
  }

  void refresh() {
    ProgramWriter writer(plan_, shape_, buffers_, "refresh");
    refresh(writer, "");
  }

  /// The working copies of one parameter, or of all.
  void refresh(ProgramWriter& writer, std::string const& parameter) {
    for (auto const& copy : buffers_.copies()) {
      if (!parameter.empty() && copy.parameter != parameter) continue;
      std::vector<int> const in{buffers_.find(copy.parameter, Role::parameter)};
      std::vector<int> const out{buffers_.find(copy.name, Role::packed)};
      if (copy.packed) {
        auto const use = copy.use == "forward" ? graph::PackWeight::Use::forward : graph::PackWeight::Use::backward;
        graph::PackWeight const op({.use = use, .n = copy.n, .k = copy.k, .rows = copy.rows, .dtype = copy.dtype});
        writer.kernel(op, in, out, copy.parameter);
      } else {
        writer.kernel(graph::Cast(copy.dtype), in, out, copy.parameter);
      }
    }
  }

  void forward(Part const& part) {
    ProgramWriter writer(plan_, shape_, buffers_, part.program);
    for (auto const& node : part.graph.nodes()) writer.node(part, node, 0);
  }

  Plan const& plan_;
  bool owns_;
  program::Template shape_;
  Buffers buffers_;
};

}  // namespace

program::Template lower_shape(Plan const& plan, bool owns) { return Lowering(plan, owns).run(); }

}  // namespace lamina::plan
