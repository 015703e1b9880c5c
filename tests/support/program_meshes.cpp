#include <algorithm>

#include "lamina/base/text.hpp"
#include "support/program_builder.hpp"
#include "support/program_worlds.hpp"

namespace lamina::test {

using namespace program;

namespace {

constexpr std::int64_t weight_rows = 7, width = 6;

/// Bounds of parts as long as the first, so that padding lies behind the last row only; the last ones may be empty.
std::vector<std::int64_t> parts_of(std::int64_t rows, int n) {
  std::vector<std::int64_t> out{0};
  for (int r = 0; r < n; ++r) out.push_back(std::min(rows, out.back() + (rows + n - 1) / n));
  return out;
}

class MeshWorld {
 public:
  explicit MeshWorld(Random& random) : random_(random) {
    struct Mesh {
      int pp, dp, tp;
    };
    static std::vector<Mesh> const meshes{{2, 1, 1}, {2, 2, 1}, {2, 1, 2}, {3, 1, 1}, {4, 1, 1}, {3, 2, 1},
                                          {1, 2, 2}, {1, 3, 1}, {2, 2, 2}, {3, 1, 2}, {2, 3, 1}};
    auto const mesh = random.of(meshes);
    pp_ = mesh.pp, dp_ = mesh.dp, tp_ = mesh.tp;
    micro_batches_ = random.between(1, 4);
    one_f_one_b_ = !random.one_in(3);
    zero_ = random.below(3);
    sequence_parallel_ = random.one_in(2);
    ties_ = pp_ > 1 && random.one_in(2);
    transport_ = random.one_in(4) ? Transport::nccl : Transport::mpi;
  }

  World make() {
    World world;
    for (int p = 0; p < pp_; ++p) {
      auto const shape = stage(p);
      for (int d = 0; d < dp_; ++d) {
        for (int t = 0; t < tp_; ++t) world.push_back({shape, binding(*shape, p, d, t)});
      }
    }
    return world;
  }

 private:
  int rank(int p, int d, int t) const { return (p * dp_ + d) * tp_ + t; }
  bool holds_tied(int p) const { return ties_ && (p == 0 || p + 1 == pp_); }
  TensorSpec weight() const { return {DType::f32, {weight_rows, width}}; }
  TensorSpec part() const { return {DType::f32, {parts_of(weight_rows, dp_)[1], width}}; }  // the longest

  /// The neighbour groups of a stage: from and to, in the order of its groups.
  std::vector<std::pair<int, int>> pairs_of(int p) const {
    std::vector<std::pair<int, int>> out;
    if (p > 0) out.insert(out.end(), {{p - 1, p}, {p, p - 1}});
    if (p + 1 < pp_) out.insert(out.end(), {{p, p + 1}, {p + 1, p}});
    return out;
  }

  Binding binding(Template const& shape, int p, int d, int t) const {
    Binding b{.rank = rank(p, d, t),
              .world = pp_ * dp_ * tp_,
              .axes = {"pp", "dp", "tp"},
              .coordinates = {p, d, t},
              .members = {{}, {}, {}}};
    for (int r = 0; r < b.world; ++r) b.members[0].push_back(r);
    for (int i = 0; i < dp_; ++i) b.members[1].push_back(rank(p, i, t));
    for (int i = 0; i < tp_; ++i) b.members[2].push_back(rank(p, d, i));
    for (auto const& [from, to] : pairs_of(p)) b.members.push_back({rank(from, d, t), rank(to, d, t)});
    if (holds_tied(p)) b.members.push_back({rank(0, d, t), rank(pp_ - 1, d, t)});
    b.slabs.resize(shape.buffers.size());
    auto const rows = parts_of(weight_rows, dp_);
    auto const at = static_cast<std::size_t>(d);
    for (std::size_t i = 0; i < shape.buffers.size(); ++i) {
      if (shape.buffers[i].role != Role::moment1) continue;
      b.slabs[i] = {{{rows[at], 0}, {rows[at + 1] - rows[at], width}}};
    }
    return b;
  }

  std::shared_ptr<Template const> stage(int p) {
    ProgramBuilder b(random_);
    b.add_group({"control", "", transport_}, {});
    b.add_group({"dp", "dp", transport_}, {});
    b.add_group({"tp", "tp", transport_}, {});
    for (auto const& [from, to] : pairs_of(p)) {
      int const id = b.add_group({text("pp.", from, ">", to), "pp", transport_}, {});
      (from < to ? to == p ? from_before_ : to_next_ : to < p ? to_before_ : from_next_) = id;
    }
    if (holds_tied(p)) tie_ = b.add_group({text("tie.0+", pp_ - 1), "", transport_}, {});
    w_ = b.add_persistent(Role::parameter, weight(), {}, {}, text("w", p));
    dw_ = b.add_persistent(Role::gradient, weight(), {}, {}, text("w", p));
    embed_ = b.add_persistent(Role::gradient, weight(), {}, {}, "embed");
    // The boxes are the ranks'; here only that there are some.
    moment_ = b.add_persistent(Role::moment1, part(), weight().shape, {{{0, 0}, {0, 0}}}, text("w", p));
    norm_ = b.add_persistent(Role::output, {DType::f64, {3}}, {}, {}, "control");
    forward_backward(b, p);
    update(b, p);
    return b.finish();
  }

  void forward_backward(ProgramBuilder& b, int p) {
    b.begin_program("forward_backward");
    int const warm_up = one_f_one_b_ ? std::min(micro_batches_, pp_ - p) : micro_batches_;
    x_.assign(static_cast<std::size_t>(micro_batches_), -1), y_ = x_;
    for (int f = 0, back = 0; back < micro_batches_;) {
      if (f < micro_batches_ && f - back < warm_up) {
        forward(b, p, f++);
      } else {
        backward(b, p, back++);
      }
    }
    if (holds_tied(p)) b.add({.kind = StepKind::all_reduce, .in = {embed_}, .out = {embed_}, .group = tie_});
  }

  TensorSpec activation() const { return {DType::bf16, {2, 4, width}}; }

  /// A sum over tp: all-reduce, or reduce-scatter and all-gather over the tokens.
  int tp_sum(ProgramBuilder& b, int partial, std::string const& name, int m) {
    if (!sequence_parallel_ || 4 % tp_ != 0) {
      b.add({.kind = StepKind::all_reduce, .in = {partial}, .out = {partial}, .group = 2, .micro_batch = m});
      return partial;
    }
    auto part = activation();
    part.shape[1] /= tp_;
    int const mine = b.add_transient(Role::activation, part, name + ".part");
    Attributes const dim{{"dim", std::int64_t{1}}};
    b.add({.kind = StepKind::reduce_scatter,
           .attributes = dim,
           .in = {partial},
           .out = {mine},
           .group = 2,
           .micro_batch = m});
    b.kernel({mine}, {mine}, {.micro_batch = m});
    int const whole = b.add_transient(Role::activation, activation(), name + ".whole");
    b.add(
        {.kind = StepKind::all_gather, .attributes = dim, .in = {mine}, .out = {whole}, .group = 2, .micro_batch = m});
    return whole;
  }

  void forward(ProgramBuilder& b, int p, int m) {
    auto const at = static_cast<std::size_t>(m);
    int const x = x_[at] = b.add_transient(Role::message, activation(), text("h", p, "@", m));
    if (p > 0) {
      b.add({.kind = StepKind::recv, .out = {x}, .group = from_before_, .peer = 0, .micro_batch = m});
    } else {
      b.kernel({}, {x}, {.micro_batch = m});
    }
    int const partial = b.add_transient(Role::activation, activation(), text("q", p, "@", m));
    b.kernel({x, w_}, {partial}, {.micro_batch = m, .stage = p});
    int const sum = tp_sum(b, partial, text("s", p, "@", m), m);
    int const y = y_[at] = b.add_transient(Role::activation, activation(), text("h", p + 1, "@", m));
    b.kernel({sum}, {y}, {.micro_batch = m, .stage = p});
    if (random_.one_in(2)) b.retire(partial);
    if (random_.one_in(2)) b.retire(sum);
    if (p + 1 < pp_) b.add({.kind = StepKind::send, .in = {y}, .group = to_next_, .peer = 1, .micro_batch = m});
  }

  void backward(ProgramBuilder& b, int p, int m) {
    auto const at = static_cast<std::size_t>(m);
    int const dy = b.add_transient(Role::message, activation(), text("g", p + 1, "@", m));
    if (p + 1 < pp_) {
      b.add({.kind = StepKind::recv, .out = {dy}, .group = from_next_, .peer = 0, .micro_batch = m});
    } else {
      b.kernel({y_[at]}, {dy}, {.micro_batch = m});
    }
    int const dx = b.add_transient(Role::activation, activation(), text("g", p, "@", m));
    b.kernel({dy, x_[at], w_}, {dx}, {.micro_batch = m});
    b.kernel({dy, x_[at]}, {dw_, embed_}, {.attributes = {{"accumulate", std::int64_t{m > 0 ? 3 : 0}}}});
    b.add({.kind = StepKind::all_reduce, .in = {dx}, .out = {dx}, .group = 2, .micro_batch = m});
    if (p > 0) b.add({.kind = StepKind::send, .in = {dx}, .group = to_before_, .peer = 1, .micro_batch = m});
    // What was received or sent forward is certainly through: its gradient has come back.
    if (random_.one_in(2)) b.retire(x_[at]);
    if (random_.one_in(2)) b.retire(y_[at]);
  }

  /// Gradients over dp by ZeRO stage: reduced whole; scattered into parts; scattered in place.
  void update(ProgramBuilder& b, int p) {
    b.begin_program("update");
    auto const one = join(parts_of(weight_rows, dp_), ",");
    Attributes const rows{{"rows", one}, {"flat", std::int64_t{1}}}, twice{{"rows", one + ";" + one}};
    if (zero_ == 0) {
      b.add({.kind = StepKind::all_reduce, .in = {dw_, embed_}, .out = {dw_, embed_}, .group = 1});
      b.add({.kind = StepKind::all_reduce, .in = {norm_}, .out = {norm_}, .group = 0});
      b.kernel({dw_, norm_, w_}, {w_}, {.stage = p});
      return;
    }
    int grad = dw_;
    if (zero_ == 1) {
      grad = b.add_transient(Role::activation, part(), text("dw", p, ".part"));
      b.add({.kind = StepKind::reduce_scatter, .attributes = rows, .in = {dw_}, .out = {grad}, .group = 1});
    } else {
      b.add({.kind = StepKind::reduce_scatter,
             .attributes = twice,
             .in = {dw_, embed_},
             .out = {dw_, embed_},
             .group = 1});
    }
    b.kernel({grad}, {norm_});
    b.add({.kind = StepKind::all_reduce, .in = {norm_}, .out = {norm_}, .group = 0});
    b.kernel({grad, norm_, moment_, w_}, {moment_, w_}, {.stage = p});
    b.add({.kind = StepKind::all_gather, .attributes = rows, .in = {w_}, .out = {w_}, .group = 1});
  }

  Random& random_;
  int pp_ = 1, dp_ = 1, tp_ = 1, micro_batches_ = 1, zero_ = 0;
  bool one_f_one_b_ = false, sequence_parallel_ = false, ties_ = false;
  Transport transport_ = Transport::mpi;
  // Of the stage being written.
  int from_before_ = -1, to_before_ = -1, to_next_ = -1, from_next_ = -1, tie_ = -1;
  int w_ = -1, dw_ = -1, embed_ = -1, moment_ = -1, norm_ = -1;
  std::vector<int> x_, y_;
};

}  // namespace

World make_mesh_world(Random& random) { return MeshWorld(random).make(); }

}  // namespace lamina::test
