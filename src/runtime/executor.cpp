#include "lamina/runtime/executor.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "detail/bound_program.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/device/arena.hpp"
#include "lamina/device/backoff.hpp"
#include "lamina/kernels/fill.hpp"
#include "lamina/tensor/reduction.hpp"

namespace lamina::runtime {

using detail::BoundProgram;
using detail::Clock;
using program::Space;

namespace {

/// Collective over the ranks of each group. Ranks that share several groups must make them in one order: by members,
/// then by name.
std::vector<comm::Communicator> make_groups(program::ProgramSet const& set, comm::Communicator const& world) {
  auto const& members = set.binding.members;
  std::vector<std::size_t> order(set.shape->groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  auto const key = [&](std::size_t g) { return std::tie(members[g], set.shape->groups[g].name); };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  std::vector<comm::Communicator> groups(order.size());
  for (auto const g : order) {
    auto const& name = set.shape->groups[g].name;
    int tag = 0;
    for (char const c : name) tag = (tag * 31 + static_cast<unsigned char>(c)) % 32749;
    groups[g] = world.subgroup(members[g], name, tag);
  }
  return groups;
}

void check(program::ProgramSet const& set, comm::Communicator const& world) {
  auto const& b = set.binding;
  if (b.world != world.size() || b.rank != world.rank()) {
    fail({.code = "runtime.bind.world",
          .subject = text("programs of rank ", b.rank, " of ", b.world),
          .found = text("rank ", world.rank(), " of ", world.size()),
          .expected = "the programs of this rank and this number of ranks",
          .fix = "lower the plan for the world that runs it"});
  }
  for (std::size_t g = 0; g < set.shape->groups.size(); ++g) {
    bool const listed =
        g < b.members.size() && std::find(b.members[g].begin(), b.members[g].end(), b.rank) != b.members[g].end();
    if (listed && set.shape->groups[g].transport == program::Transport::mpi) continue;
    fail({.code = "runtime.bind.group",
          .subject = text("group '", set.shape->groups[g].name, "'"),
          .found = listed ? text("transport ", name_of(set.shape->groups[g].transport))
                          : text("a member list without rank ", b.rank),
          .expected = "members that include this rank; transport mpi (others are not available yet)",
          .fix = "correct the binding of the program set"});
  }
  for (std::size_t s = 0; s < set.shape->arena_bytes.size(); ++s) {
    if (s == static_cast<std::size_t>(Space::host) || set.shape->arena_bytes[s] == 0) continue;
    fail({.code = "runtime.bind.space",
          .subject = text("arena of space ", name_of(static_cast<Space>(s))),
          .found = text(set.shape->arena_bytes[s], " bytes"),
          .expected = "0: only host memory is available yet",
          .fix = "place all buffers on the host"});
  }
}

}  // namespace

struct Executor::Impl {
  Impl(program::ProgramSet s, comm::Communicator const& world, ExecutorOptions options)
      : set(std::move(s)), groups((check(set, world), make_groups(set, world))) {
    auto const sharing = reads_neighbours() ? device::Arena::Sharing::neighbours : device::Arena::Sharing::none;
    for (auto const bytes : set.shape->arena_bytes) arenas.emplace_back(bytes, sharing);
    for (auto const& arena : arenas) bases.push_back(arena.at(0));
    if (!groups.empty()) service.emplace();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      group_streams.push_back(std::make_unique<device::Stream>(*service, most_tasks(static_cast<int>(g))));
    }
    touch(options.reference_kernels);
    detail::Streams streams{&compute, {}, nullptr};
    for (auto const& stream : group_streams) streams.groups.push_back(stream.get());
    detail::Memory const memory{set, bases};
    for (auto const& program : set.shape->programs) {
      auto const has_copy = [](auto const& stream) { return stream.name == "copy"; };
      if (!copy && std::any_of(program.streams.begin(), program.streams.end(), has_copy)) {
        if (!service) service.emplace();
        copy = std::make_unique<device::Stream>(*service, most_tasks(-1));
      }
      streams.copy = copy.get();
      programs.push_back(detail::bind_program(program, memory, streams, groups, options.reference_kernels));
      for (std::size_t i = 0; i < program.steps.size(); ++i) {
        programs.back().actions[i].profile = profile_row(program.steps[i]);
      }
    }
  }

  /// Whether a collective may read what neighbours have in their arenas.
  bool reads_neighbours() const {
    auto const reads = [this](program::Step const& s) {
      using enum program::StepKind;
      return (s.kind == all_reduce || s.kind == reduce_scatter || s.kind == all_gather) &&
             groups[static_cast<std::size_t>(s.group)].is_within_reach() &&
             s.bytes > direct_reduction_bytes(groups[static_cast<std::size_t>(s.group)].size());
    };
    return std::ranges::any_of(set.shape->programs, [&](auto const& p) { return std::ranges::any_of(p.steps, reads); });
  }

  /// Pages of private arenas go to the NUMA node of whoever touches them first: for what outlives a program, the
  /// threads of the kernels, in the partition that kernels use. Everything else is first touched by the kernel that
  /// writes it. Shared arenas have theirs.
  void touch(bool reference_kernels) {
    if (reference_kernels) return;
    detail::Memory const memory{set, bases};
    for (std::size_t b = 0; b < set.shape->buffers.size(); ++b) {
      auto const& buffer = set.shape->buffers[b];
      if (buffer.program != -1 || buffer.spec.count() == 0) continue;
      auto const ref = memory.ref(static_cast<int>(b));
      if (!device::Arena::shared_block_of(ref.data)) kernels::zero(compute, {.y = ref});
    }
  }

  /// Tasks that a run may have in flight on the stream of a group (-1: the copy stream): enqueueing must not wait for
  /// room, because what makes room may wait for a kernel behind it.
  std::int64_t most_tasks(int group) const {
    std::int64_t most = 1;
    for (auto const& program : set.shape->programs) {
      std::int64_t tasks = 0;
      for (auto const& step : program.steps) {
        if (step.stream == 0 || program.streams[static_cast<std::size_t>(step.stream)].group != group) continue;
        tasks += std::ssize(step.after) + std::max({std::ssize(step.in), std::ssize(step.out), std::ptrdiff_t{1}});
      }
      most = std::max(most, tasks);
    }
    return most;
  }

  int profile_row(program::Step const& step) {
    auto const op = step.op.empty() ? std::string(name_of(step.kind)) : step.op;
    auto const known = std::find_if(rows.begin(), rows.end(), [&](ProfileRow const& r) { return r.op == op; });
    auto const at = static_cast<int>(known - rows.begin());
    if (known == rows.end()) rows.push_back({.op = op});
    return at;
  }

  BoundProgram* find(std::string_view name) {
    auto const at =
        std::find_if(programs.begin(), programs.end(), [&](auto const& p) { return p.program->name == name; });
    return at == programs.end() ? nullptr : &*at;
  }

  bool is_left_out(program::StepKind kind) const {
    return program::is_communication(kind) ? !trial.communication : !trial.kernels && kind == program::StepKind::kernel;
  }

  /// Integers that would have come are zeros, so that look-ups stay inside their tables.
  void leave_out(BoundProgram& bound, std::size_t step) {
    bound.tokens[step].count = 0;
    for (int const b : bound.program->steps[step].out) {
      auto const memory = detail::Memory{set, bases}.ref(b);
      if (memory.spec.dtype == DType::i32) std::memset(memory.data, 0, static_cast<std::size_t>(memory.spec.bytes()));
    }
  }

  void run(BoundProgram& bound);
  void wait(BoundProgram& bound, device::Stream& stream, std::uint64_t count);
  [[noreturn]] void fail_step(BoundProgram const& bound, int step, std::exception_ptr error);
  [[noreturn]] void fail_stream(BoundProgram const& bound, device::Stream& stream);

  program::ProgramSet set;
  std::vector<comm::Communicator> groups;
  std::vector<device::Arena> arenas;
  std::vector<void*> bases;
  device::Stream compute;  // never has tasks: kernels run in the calling thread
  // Destroyed in reverse: streams wait for their tasks, then the service ends, then the programs free the tasks.
  std::vector<BoundProgram> programs;
  std::optional<device::Service> service;
  std::vector<std::unique_ptr<device::Stream>> group_streams;
  std::unique_ptr<device::Stream> copy;

  std::vector<ProfileRow> rows;
  bool profiling = false, tracing = false;
  Trial trial;
  Clock::time_point trace_began = Clock::time_point::max();
  Clock::duration exposed{};

  // What `position` reads: the program's index, the step and whether it waits, written by the compute thread alone.
  std::atomic<std::uint64_t> state{0}, changes{0};
  void publish(BoundProgram const& bound, int step, bool waiting) {
    auto const index = static_cast<std::uint64_t>(&bound - programs.data()) + 1;
    state.store(index << 40 | static_cast<std::uint64_t>(step + 1) << 1 | (waiting ? 1 : 0), std::memory_order_relaxed);
    changes.store(changes.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
};

namespace {

std::int64_t nanoseconds(Clock::duration d) { return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count(); }

}  // namespace

void Executor::Impl::fail_step(BoundProgram const& bound, int step, std::exception_ptr error) {
  for (auto& stream : group_streams) stream->cancel();
  if (copy) copy->cancel();
  auto const where = detail::describe(set, *bound.program, step);
  try {
    std::rethrow_exception(std::move(error));
  } catch (Error const& e) {
    auto info = e.info();
    info.subject = text(where, ": ", info.subject);
    throw Error(std::move(info), e.place());
  } catch (std::exception const& e) {
    fail({.code = "runtime.step.exception",
          .subject = where,
          .found = e.what(),
          .expected = "a step that ends normally",
          .fix = "report this with the output of `lamina plan --print program`"});
  }
}

void Executor::Impl::fail_stream(BoundProgram const& bound, device::Stream& stream) {
  int step = 0;
  for (std::size_t i = 0; i < bound.actions.size(); ++i) {
    if (bound.actions[i].stream == &stream && bound.tokens[i].count > stream.failed_task()) {
      step = static_cast<int>(i);
      break;
    }
  }
  try {
    stream.wait_for(stream.failed_task() + 1);
  } catch (...) {
    fail_step(bound, step, std::current_exception());
  }
  std::terminate();  // a failed stream rethrows
}

/// A failure of one stream ends the wait for any other: its peer may be gone.
void Executor::Impl::wait(BoundProgram& bound, device::Stream& stream, std::uint64_t count) {
  if (stream.finished() < count) {
    auto const start = Clock::now();
    device::Helper helper(*service);
    for (device::Backoff backoff(std::chrono::microseconds(50)); stream.finished() < count;) {
      for (auto* other : bound.streams) {
        if (other->failed()) fail_stream(bound, *other);
      }
      if (helper.look()) {
        backoff.reset();
      } else {
        backoff.pause();
      }
    }
    exposed += Clock::now() - start;
  }
  if (stream.failed()) fail_stream(bound, stream);
}

void Executor::Impl::run(BoundProgram& bound) {
  exposed = {};
  bool const timed = profiling || tracing, whole = trial.kernels && trial.communication;
  for (int const step : bound.order) {
    auto const i = static_cast<std::size_t>(step);
    auto& action = bound.actions[i];
    if (!whole && is_left_out(bound.program->steps[i].kind)) {
      if (action.stream) leave_out(bound, i);
      continue;
    }
    if (action.stream) {
      for (auto const& wait_task : action.waits) action.stream->put(*wait_task);
      for (auto const& task : action.tasks) action.stream->put(*task);
      bound.tokens[i].count = action.stream->issued();
      ++action.calls;
      continue;
    }
    publish(bound, step, !action.after.empty());
    if (timed && !action.after.empty()) action.waited = Clock::now();
    for (int const other : action.after) wait(bound, *bound.tokens[other].stream, bound.tokens[other].count);
    if (!action.after.empty()) publish(bound, step, false);
    if (service) service->tell();  // what was put on the streams goes on while the kernel runs
    try {
      if (timed) {
        action.started = Clock::now();
        action.kernel(compute);
        action.ended = Clock::now();
        action.ns += nanoseconds(action.ended - action.started);
        ++action.calls;
      } else {
        action.kernel(compute);
      }
    } catch (...) {
      fail_step(bound, step, std::current_exception());
    }
  }
  publish(bound, -1, !bound.streams.empty());
  for (auto* stream : bound.streams) wait(bound, *stream, stream->issued());
  publish(bound, -1, false);
}

Executor::Executor(program::ProgramSet set, comm::Communicator world, ExecutorOptions options)
    : impl_(std::make_unique<Impl>(std::move(set), world, options)) {}

Executor::~Executor() = default;

void Executor::run(std::string_view program) {
  if (auto* const bound = impl_->find(program)) return impl_->run(*bound);
  std::vector<std::string> names;
  for (auto const& p : impl_->programs) names.push_back(p.program->name);
  fail({.code = "runtime.program.unknown",
        .subject = text("program '", program, "'"),
        .found = "no program of that name in the set",
        .expected = text("one of: ", join(names)),
        .fix = "plan for a purpose that has this program"});
}

bool Executor::has_program(std::string_view program) const { return impl_->find(program) != nullptr; }

TensorRef Executor::buffer(std::string_view name, Role role) const {
  int const id = impl_->set.shape->find_buffer(name, role);
  if (id >= 0) return detail::Memory{impl_->set, impl_->bases}.ref(id);
  std::vector<std::string> names;
  for (auto const& b : impl_->set.shape->buffers) {
    if (b.role == role && b.program == -1) names.push_back(b.name);
  }
  auto const near = closest(name, names);
  fail({.code = "runtime.buffer.unknown",
        .subject = text("buffer '", name, "' of role ", role),
        .found = text("none among ", names.size(), " buffers of that role"),
        .expected = "a buffer of the program set",
        .fix = near.empty() ? std::string("see `lamina plan --print program`") : text("did you mean '", near, "'?")});
}

program::ProgramSet const& Executor::set() const { return impl_->set; }

void Executor::enable_profile(bool on) {
  take_profile();
  impl_->profiling = on;
}

std::vector<ProfileRow> Executor::take_profile() {
  auto rows = impl_->rows;
  for (auto& bound : impl_->programs) {
    for (std::size_t i = 0; i < bound.actions.size(); ++i) {
      auto& action = bound.actions[i];
      auto const& step = bound.program->steps[i];
      for (auto const& task : action.tasks) action.ns += task->take_ns();
      auto& row = rows[action.profile];
      auto const calls = std::exchange(action.calls, 0);
      row.calls += calls, row.flops += calls * step.flops, row.bytes += calls * step.bytes;
      row.seconds += 1e-9 * static_cast<double>(std::exchange(action.ns, 0));
    }
  }
  std::erase_if(rows, [](ProfileRow const& r) { return r.calls == 0; });
  std::stable_sort(rows.begin(), rows.end(), [](auto const& a, auto const& b) { return a.seconds > b.seconds; });
  return rows;
}

void Executor::enable_trace(bool on) {
  impl_->tracing = on;
  impl_->trace_began = on ? Clock::now() : Clock::time_point::max();
}

std::vector<TracedStep> Executor::traced_steps() const {
  std::vector<TracedStep> steps;
  for (auto const& bound : impl_->programs) {
    for (std::size_t i = 0; i < bound.actions.size(); ++i) {
      auto const& action = bound.actions[i];
      auto const started = action.stream ? action.tasks.front()->started() : action.started;
      if (started < impl_->trace_began) continue;
      auto const ended = action.stream ? action.tasks.back()->ended() : action.ended;
      steps.push_back({.program = bound.program,
                       .step = static_cast<int>(i),
                       .waited_ns = action.after.empty() ? 0 : nanoseconds(started - action.waited),
                       .start_ns = nanoseconds(started.time_since_epoch()),
                       .end_ns = nanoseconds(ended.time_since_epoch())});
    }
  }
  return steps;
}

void Executor::set_trial(Trial const& trial) {
  impl_->trial = trial;
  for (auto& bound : impl_->programs) {
    for (std::size_t i = 0; i < bound.actions.size(); ++i) {
      auto const& step = bound.program->steps[i];
      if (!program::is_communication(step.kind)) continue;
      auto const ranks = impl_->groups[static_cast<std::size_t>(step.group)].size();
      auto const senders = step.kind == program::StepKind::send ? 1 : ranks;
      auto const bytes = static_cast<double>(program::sent_bytes(step.kind, step.bytes, ranks) / senders);
      std::chrono::duration<double> const least(trial.link_speed > 0 ? bytes / trial.link_speed : 0);
      auto const& tasks = bound.actions[i].tasks;
      for (auto const& task : tasks) {
        task->pace(std::chrono::duration_cast<Clock::duration>(least / std::ssize(tasks)),
                   /*first=*/step.kind == program::StepKind::send);
      }
    }
  }
}

double Executor::exposed_communication_seconds() const { return std::chrono::duration<double>(impl_->exposed).count(); }

Position Executor::position() const {
  Position p;
  p.changes = impl_->changes.load(std::memory_order_acquire);
  auto const where = impl_->state.load(std::memory_order_relaxed);
  if (where == 0) return p;
  p.program = impl_->programs[(where >> 40) - 1].program->name;
  p.step = static_cast<int>((where >> 1) & 0x7fffffff) - 1;
  p.waiting = (where & 1) != 0;
  return p;
}

}  // namespace lamina::runtime
