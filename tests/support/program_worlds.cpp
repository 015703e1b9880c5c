#include "support/program_worlds.hpp"

#include <algorithm>
#include <numeric>

#include "lamina/base/text.hpp"
#include "support/program_builder.hpp"

namespace lamina::test {

using namespace program;

namespace {

TensorSpec random_spec(Random& random) {
  static std::vector<DType> const dtypes{DType::f32, DType::f32, DType::bf16, DType::i64};
  static std::vector<Shape> const shapes{{}, {12}, {12, 3}, {24}, {1}, {7, 2}, {0}, {12, 2, 2}, {40}, {64}};
  return {random.of(dtypes), random.of(shapes)};
}

void add_persistent_buffers(ProgramBuilder& b, Random& random) {
  static std::vector<Role> const roles{Role::parameter, Role::gradient, Role::moment1, Role::input,
                                       Role::output,    Role::packed,   Role::cache};
  for (int n = random.between(2, 4); n > 0; --n) {
    auto const role = random.of(roles);
    if (role <= Role::output || role >= Role::packed || !random.one_in(2)) {
      b.add_persistent(role, random_spec(random));
    } else {  // two boxes of a larger tensor
      b.add_persistent(role, {DType::f32, {6, 3}}, {16, 5}, {{{8, 2}, {4, 3}}, {{random.below(3), 1}, {2, 3}}});
    }
  }
}

/// One rank does something on its own.
void local_step(ProgramBuilder& b, Random& random) {
  auto const readables = b.readables();
  if (random.one_in(5)) {
    int const from = random.of(readables);
    b.add({.kind = StepKind::copy, .in = {from}, .out = {b.add_transient(Role::activation, b.buffer(from).spec)}});
    return;
  }
  std::vector<int> in, out;
  for (int n = random.below(3); n > 0; --n) in.push_back(random.of(readables));
  Step extra;
  if (random.one_in(3)) {  // writes something old, perhaps in place or adding to it
    out.push_back(random.of(readables));
    if (random.one_in(2)) extra.attributes.set("accumulate", std::int64_t{1});
  } else {
    out.push_back(b.add_transient(Role::activation, random_spec(random)));
    if (random.one_in(4)) out.push_back(b.add_transient(Role::scratch, {DType::u8, {random.between(1, 200)}}));
  }
  extra.micro_batch = random.between(-1, 3);
  extra.layer = random.one_in(2) ? "blocks.0.mlp" : "";
  b.kernel(in, out, extra);
}

void retire_some(ProgramBuilder& b, Random& random) {
  for (int const id : b.live()) {
    if (random.one_in(4)) b.retire(id);
  }
}

/// A member's part of a collective; everything here is the same for all members.
struct Meeting {
  StepKind kind;
  TensorSpec spec;  // of the whole tensor
  int operands, root;
  bool in_place, is_max;
  std::string name;  // of the tensors; "" when all members have one template, and so the same names anyway
  std::string rows = {};
  int dim = 0;
  bool flat = false, padded = false;  // padded: flat parts as long as the longest

  /// @param one_template parts are of one size, or work in place, and names are left open.
  static Meeting random(Random& random, int members, bool one_template) {
    static std::vector<StepKind> const kinds{StepKind::all_reduce,     StepKind::all_reduce,     StepKind::barrier,
                                             StepKind::broadcast,      StepKind::all_gather,     StepKind::all_gather,
                                             StepKind::reduce_scatter, StepKind::reduce_scatter, StepKind::all_to_all};
    Meeting m{.kind = random.of(kinds),
              .spec = random_spec(random),
              .operands = random.between(1, 2),
              .root = random.below(members),
              .in_place = random.one_in(2),
              .is_max = random.one_in(3),
              .name = one_template ? "" : text("v", random.below(3))};
    if (m.kind == StepKind::all_to_all) m.spec = {DType::f32, {24 % members == 0 ? 24 : 5 * members, 2}};
    if (m.kind == StepKind::reduce_scatter || m.kind == StepKind::all_gather)
      m.choose_rows(random, members, one_template);
    if (!one_template && m.operands == 1 && m.kind == StepKind::all_reduce && random.one_in(3)) {
      m.spec = shared_spec(), m.name = random.one_in(2) ? "dw0" : "dw1";
    }
    return m;
  }

  /// Of the gradients dw0 and dw1 that every rank of a free world has.
  static TensorSpec shared_spec() { return {DType::f32, {12}}; }

  void join(ProgramBuilder& b, int group, int index, int members, Random& rng) const {
    Step s{.kind = kind, .group = group};
    auto const part = part_spec(index, members);
    for (int i = 0; i < operands && kind != StepKind::barrier; ++i) {
      switch (kind) {
        case StepKind::all_reduce:
          s.in.push_back(fresh(b, s.in));
          break;
        case StepKind::broadcast:
          if (index == root || in_place) {
            s.out.push_back(fresh(b, s.out));
          } else {
            s.out.push_back(b.add_transient(Role::message, spec, name));
          }
          break;
        default: {
          bool const gathers = kind == StepKind::all_gather;
          bool const same = in_place && kind != StepKind::all_to_all;
          auto const& wanted = same || !gathers ? spec : part;
          int const in = b.readable(wanted, name);
          bool const twice = std::ranges::count(s.in, in) > 0 || std::ranges::count(s.out, in) > 0;
          s.in.push_back(twice ? written(b, wanted) : in);
          s.out.push_back(
              same ? s.in.back()
                   : b.add_transient(Role::message, gathers || kind == StepKind::all_to_all ? spec : part, name));
        }
      }
    }
    if (kind == StepKind::all_reduce) s.out = s.in;
    if (kind == StepKind::broadcast && (index == root || in_place)) s.in = s.out;
    if (kind == StepKind::broadcast) s.peer = root;
    if (!rows.empty()) s.attributes.set("rows", rows);
    if (dim > 0 || (cuts() && rng.one_in(4))) s.attributes.set("dim", std::int64_t{dim});
    if (flat || (cuts() && rng.one_in(4))) s.attributes.set("flat", std::int64_t{flat});
    if ((kind == StepKind::all_reduce || kind == StepKind::reduce_scatter) && (is_max || rng.one_in(2))) {
      s.attributes.set("reduce", std::string(is_max ? "max" : "sum"));
    }
    b.add(std::move(s));
  }

 private:
  bool cuts() const { return kind == StepKind::reduce_scatter || kind == StepKind::all_gather; }

  /// 24 rows are equal parts for 1 to 4 members; other numbers of members and half of the rest get bounds.
  void choose_rows(Random& random, int members, bool one_template) {
    dim = random.one_in(3) ? 1 : 0;
    flat = dim == 0 && random.one_in(2);
    std::int64_t const columns = random.between(1, 3);
    spec = {DType::f32, dim == 1           ? Shape{2, 24, columns}
                        : !flat            ? Shape{24, columns}
                        : random.one_in(3) ? Shape{24}
                        : random.one_in(2) ? Shape{4, 6, columns}
                                           : Shape{24, columns}};
    padded = flat && (one_template || random.one_in(2));
    if (dim == 1) in_place = false;
    bool const may_differ = !one_template || padded || in_place;
    if (24 % members == 0 && (!may_differ || random.one_in(2))) return;
    std::string one = "0";
    for (int r = 1; r < members; ++r) one += text(",", 24 * r / members + (r % 2));
    one += ",24";
    rows = operands == 1 ? one : one + ";" + one;
  }

  std::int64_t own_rows(int index, int members) const {
    if (rows.empty()) return 24 / members;
    std::vector<std::int64_t> bounds;
    for (auto const& word : split(split(rows, ';')[0], ',')) bounds.push_back(std::stoll(word));
    return bounds[static_cast<std::size_t>(index) + 1] - bounds[static_cast<std::size_t>(index)];
  }
  TensorSpec part_spec(int index, int members) const {
    if (!cuts()) return spec;
    auto own = own_rows(index, members);
    for (int r = 0; padded && r < members; ++r) own = std::max(own, own_rows(r, members));
    auto part = spec;
    part.shape[dim] = own;
    if (flat && spec.shape.ndim() == 3) part.shape = {own, spec.shape[2]};
    return part;
  }
  int written(ProgramBuilder& b, TensorSpec const& wanted) const {
    int const id = b.add_transient(Role::activation, wanted, name);
    b.kernel({}, {id});
    return id;
  }
  /// Readable and not yet in the list.
  int fresh(ProgramBuilder& b, std::vector<int> const& taken) const {
    for (int const id : b.readables()) {
      if (name.starts_with("dw") && b.buffer(id).name == name && b.buffer(id).role == Role::gradient) return id;
    }
    int const id = b.readable(spec, name);
    return std::ranges::count(taken, id) > 0 ? written(b, spec) : id;
  }
};

/// One for all groups in a third of the worlds, so that nccl groups meet.
Transport random_transport(Random& random, bool all_nccl) {
  return all_nccl ? Transport::nccl : static_cast<Transport>(random.below(3));
}

struct Comm {
  std::vector<int> ranks, local;  // local: group id on each of them
};

/// What a world has much of: a bit of all, messages inside groups of several, or buffers that take over each other's
/// bytes.
enum class Style { mixed, messages, memory };

class FreeWorld {
 public:
  FreeWorld(Random& random, Style style)
      : random_(random),
        style_(style),
        size_(style == Style::messages ? random.between(3, 4)
              : style == Style::memory ? 1
                                       : random.between(1, 4)),
        all_nccl_(random.one_in(3)) {
    for (int r = 0; r < size_; ++r) {
      auto& b = builders_.emplace_back(random);
      add_persistent_buffers(b, random);
      for (char const* name : {"dw0", "dw1"}) b.add_persistent(Role::gradient, Meeting::shared_spec(), {}, {}, name);
    }
    std::vector<int> everybody(static_cast<std::size_t>(size_));
    std::iota(everybody.begin(), everybody.end(), 0);
    add_comm("control", everybody);
    for (int n = random.below(3); n > 0; --n) add_comm(text("g", n), random_members());
    for (int n = size_ > 1 ? random.between(1, 4) : 0; n > 0; --n) {
      int const a = random.below(size_), b = (a + random.between(1, size_ - 1)) % size_;
      add_comm(text("p", n, ".", a, ">", b), {a, b});
    }
  }

  World make() {
    for (char const* name : {"forward_backward", "update"}) {
      for (auto& b : builders_) b.begin_program(name);
      for (int n = style_ == Style::memory ? random_.between(8, 24) : random_.between(4, 12); n > 0; --n) event();
      if (random_.one_in(2)) break;
    }
    World world;
    for (int r = 0; r < size_; ++r) {
      auto& b = builders_[static_cast<std::size_t>(r)];
      Binding binding{.rank = r, .world = size_, .members = b.members(), .slabs = b.slabs()};
      if (random_.one_in(2)) binding.axes = {"dp"}, binding.coordinates = {r};
      world.push_back({b.finish(), std::move(binding)});
    }
    return world;
  }

 private:
  std::vector<int> random_members() {
    std::vector<int> all(static_cast<std::size_t>(size_)), out;
    std::iota(all.begin(), all.end(), 0);
    for (int n = random_.between(1, size_); n > 0; --n) {
      auto const at = all.begin() + random_.below(static_cast<int>(all.size()));
      out.push_back(*at);
      all.erase(at);
    }
    return out;
  }
  void add_comm(std::string const& name, std::vector<int> const& ranks) {
    Comm comm{ranks, {}};
    auto const transport = random_transport(random_, all_nccl_);
    for (int const r : ranks)
      comm.local.push_back(builders_[static_cast<std::size_t>(r)].add_group({name, "dp", transport}, ranks));
    comms_.push_back(std::move(comm));
  }
  ProgramBuilder& at(Comm const& c, int index) {
    return builders_[static_cast<std::size_t>(c.ranks[static_cast<std::size_t>(index)])];
  }

  void event() {
    auto& some = builders_[static_cast<std::size_t>(random_.below(size_))];
    if (style_ != Style::messages) retire_some(some, random_);  // there, only progress is to be wrong
    auto const& comm = random_.of(comms_);
    int const n = static_cast<int>(comm.ranks.size());
    switch (random_.below(4)) {
      case 0:
        return local_step(some, random_);
      case 1: {
        if (n < 2) return local_step(some, random_);
        int const from = random_.below(n), to = (from + random_.between(1, n - 1)) % n;
        auto const spec = random_spec(random_);
        int const message = at(comm, from).readable(spec);
        at(comm, from)
            .add({.kind = StepKind::send,
                  .in = {message},
                  .group = comm.local[static_cast<std::size_t>(from)],
                  .peer = to});
        int const place = at(comm, to).add_transient(Role::message, spec, at(comm, from).buffer(message).name);
        at(comm, to).add(
            {.kind = StepKind::recv, .out = {place}, .group = comm.local[static_cast<std::size_t>(to)], .peer = from});
        return;
      }
      default: {
        auto const meeting = Meeting::random(random_, n, false);
        for (int i = 0; i < n; ++i) meeting.join(at(comm, i), comm.local[static_cast<std::size_t>(i)], i, n, random_);
      }
    }
  }

  Random& random_;
  Style style_;
  int size_;
  bool all_nccl_;
  std::vector<ProgramBuilder> builders_;
  std::vector<Comm> comms_;
};

World same_for_all(Random& random) {
  int const world = random.of(std::vector{1, 2, 3, 4, 4});
  bool const all_nccl = random.one_in(3);
  ProgramBuilder b(random);
  std::vector<std::vector<std::vector<int>>> members;  // per group and rank
  std::vector<int> everybody(static_cast<std::size_t>(world));
  std::iota(everybody.begin(), everybody.end(), 0);
  members.emplace_back(world, everybody);
  b.add_group({"control", "", random_transport(random, all_nccl)}, everybody);
  if (world == 4) {
    members.push_back({{0, 2}, {1, 3}, {0, 2}, {1, 3}});
    members.push_back({{0, 1}, {0, 1}, {2, 3}, {2, 3}});
    b.add_group({"dp", "dp", random_transport(random, all_nccl)}, {0, 2});
    b.add_group({"tp", "tp", random_transport(random, all_nccl)}, {0, 1});
  } else {
    members.emplace_back(world, everybody);
    b.add_group({"dp", "dp", random_transport(random, all_nccl)}, everybody);
  }
  add_persistent_buffers(b, random);
  for (char const* name : {"forward_backward", "update"}) {
    b.begin_program(name);
    for (int n = random.between(2, 14); n > 0; --n) {
      retire_some(b, random);
      if (random.one_in(2)) {
        local_step(b, random);
        continue;
      }
      int const g = random.below(b.group_count()),
                size = static_cast<int>(members[static_cast<std::size_t>(g)][0].size());
      auto meeting = Meeting::random(random, size, true);
      if (meeting.kind == StepKind::broadcast) meeting.in_place = true;  // who is the root differs
      meeting.join(b, g, 0, size, random);
    }
    if (random.one_in(2)) break;
  }
  World sets;
  auto const shape = b.finish();
  for (int r = 0; r < world; ++r) {
    Binding binding{.rank = r, .world = world, .slabs = b.slabs()};
    for (auto const& group : members) binding.members.push_back(group[static_cast<std::size_t>(r)]);
    bool const own_copy = random.one_in(3);  // equal, and not the same object
    sets.push_back({own_copy ? std::make_shared<Template const>(*shape) : shape, std::move(binding)});
  }
  return sets;
}

/// Stages of one or two ranks. Neighbour groups alternate between two names, so that stages can share a template.
class Pipeline {
 public:
  explicit Pipeline(Random& random)
      : random_(random), stages_(random.between(2, 5)), width_(stages_ == 2 ? random.between(1, 2) : 1) {}

  World make() {
    int const micro_batches = random_.between(1, 3);
    bool const one_f_one_b = random_.one_in(2);
    std::uint64_t const seed = static_cast<std::uint64_t>(random_.below(1 << 30));
    World world;
    for (int p = 0; p < stages_; ++p) {
      // Middle stages that draw the same numbers and have neighbour groups of the same names get equal templates.
      Random own(seed + (p == 0 ? 0 : p + 1 == stages_ ? 1 : 2));
      int const warm_up = one_f_one_b ? std::min(micro_batches, stages_ - p) : micro_batches;
      auto const shape = stage(p, micro_batches, warm_up, own);
      for (int w = 0; w < width_; ++w) world.push_back({shape, binding(p, w)});
    }
    return world;
  }

 private:
  int rank(int stage, int w) const { return stage * width_ + w; }

  Binding binding(int p, int w) const {
    Binding b{.rank = rank(p, w),
              .world = stages_ * width_,
              .axes = {"pp", "dp"},
              .coordinates = {p, w},
              .members = {{}, {}}};
    for (int r = 0; r < stages_ * width_; ++r) b.members[0].push_back(r);
    for (int i = 0; i < width_; ++i) b.members[1].push_back(rank(p, i));
    if (p > 0) b.members.insert(b.members.end(), 2, {rank(p - 1, w), rank(p, w)});
    if (p + 1 < stages_) b.members.insert(b.members.end(), 2, {rank(p, w), rank(p + 1, w)});
    return b;
  }

  std::shared_ptr<Template const> stage(int p, int micro_batches, int warm_up, Random& random) const {
    ProgramBuilder b(random);
    TensorSpec const spec{DType::f32, {12}};
    auto const name = [](int from, int to) { return text("pp.", from % 2, ">", to % 2); };
    b.add_group({"control", ""}, {}), b.add_group({"dp", "dp"}, {});
    int in = -1, in_back = -1, out = -1, out_back = -1;
    if (p > 0)
      in = b.add_group({name(p - 1, p), "pp"}, {}), in_back = b.add_group({name(p - 1, p) + ".back", "pp"}, {});
    if (p + 1 < stages_)
      out = b.add_group({name(p, p + 1), "pp"}, {}), out_back = b.add_group({name(p, p + 1) + ".back", "pp"}, {});
    int const w = b.add_persistent(Role::parameter, spec), dw = b.add_persistent(Role::gradient, spec);
    b.begin_program("forward_backward");
    std::vector<int> x(static_cast<std::size_t>(micro_batches)), y = x;
    for (int f = 0, back = 0; back < micro_batches;) {
      if (f < micro_batches && f - back < warm_up) {
        auto const m = static_cast<std::size_t>(f++);
        x[m] = b.add_transient(Role::message, spec, text("h", p % 2, "@", m));
        if (in >= 0) {
          b.add({.kind = StepKind::recv, .out = {x[m]}, .group = in, .peer = 0, .micro_batch = f - 1});
        } else {
          b.kernel({}, {x[m]});
        }
        y[m] = b.add_transient(Role::activation, spec, text("h", (p + 1) % 2, "@", m));
        b.kernel({x[m], w}, {y[m]}, {.micro_batch = f - 1, .stage = p == 0 ? 0 : p + 1 == stages_ ? 2 : 1});
        if (out >= 0) b.add({.kind = StepKind::send, .in = {y[m]}, .group = out, .peer = 1, .micro_batch = f - 1});
      } else {
        auto const m = static_cast<std::size_t>(back++);
        // Not in the bytes of something whose message may still wait for us: a new place keeps the pipeline going.
        int const dy = b.add_transient(Role::message, spec, text("g", (p + 1) % 2, "@", m));
        if (out >= 0) {
          b.add({.kind = StepKind::recv, .out = {dy}, .group = out_back, .peer = 1, .micro_batch = back - 1});
        } else {
          b.kernel({y[m]}, {dy});
        }
        int const dx = b.add_transient(Role::activation, spec, text("g", p % 2, "@", m));
        b.kernel({dy, x[m], w}, {dx, dw},
                 {.attributes = {{"accumulate", std::int64_t{m > 0 ? 2 : 0}}}, .micro_batch = back - 1});
        if (in >= 0) b.add({.kind = StepKind::send, .in = {dx}, .group = in_back, .peer = 0, .micro_batch = back - 1});
        if (random.one_in(2)) b.retire(x[m]);
        if (random.one_in(2)) b.retire(y[m]);
      }
    }
    b.add({.kind = StepKind::all_reduce, .in = {dw}, .out = {dw}, .group = 1});
    b.add({.kind = StepKind::barrier, .group = 0});
    return b.finish();
  }

  Random& random_;
  int stages_, width_;
};

}  // namespace

World make_message_world(Random& random) { return FreeWorld(random, Style::messages).make(); }

World make_random_world(Random& random) {
  switch (random.below(7)) {
    case 6:
      return make_mesh_world(random);
    case 0:
      return same_for_all(random);
    case 1:
      return Pipeline(random).make();
    case 2:
      return make_message_world(random);
    case 3:
      return FreeWorld(random, Style::memory).make();
    default:
      return FreeWorld(random, Style::mixed).make();
  }
}

}  // namespace lamina::test
