#include "lamina/train/trace.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "lamina/base/error.hpp"
#include "lamina/base/hash.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/comm/clock.hpp"
#include "lamina/train/run_directory.hpp"

namespace lamina::train {
namespace {

using nlohmann::ordered_json;
using program::StepKind;

std::string process_name(program::Binding const& binding, std::string const& host) {
  std::vector<std::string> places;
  for (std::size_t a = 0; a < binding.axes.size(); ++a) {
    places.push_back(text(binding.axes[a], ' ', binding.coordinates[a]));
  }
  if (!host.empty()) places.push_back("host " + host);
  return text("rank ", binding.rank, places.empty() ? "" : ": ", join(places));
}

/// What both ends call a message: the n-th of a program from one rank to another in a group. Messages between two ranks
/// are matched in order.
class Messages {
 public:
  explicit Messages(program::ProgramSet const& set) : set_(set) {}

  std::string name(program::Program const& program, program::Step const& step) {
    bool const sends = step.kind == StepKind::send;
    if (!sends && step.kind != StepKind::recv) return "";
    auto const group = static_cast<std::size_t>(step.group);
    auto const peer = set_.binding.members[group][static_cast<std::size_t>(step.peer)], here = set_.binding.rank;
    auto const way =
        text(program.name, ' ', set_.shape->groups[group].name, ' ', sends ? here : peer, '>', sends ? peer : here);
    return text(way, ' ', count_[way]++);
  }

 private:
  program::ProgramSet const& set_;
  std::map<std::string, int> count_;
};

double microseconds(std::int64_t ns) { return static_cast<double>(ns) / 1000; }

}  // namespace

RankTrace trace_of(runtime::Executor const& executor, std::string const& host, std::int64_t ahead_ns) {
  auto const& set = executor.set();
  RankTrace trace{
      .rank = set.binding.rank, .name = process_name(set.binding, host), .streams = {"compute"}, .events = {}};
  Messages messages(set);
  for (auto const& t : executor.traced_steps()) {
    auto const& step = t.program->steps[static_cast<std::size_t>(t.step)];
    auto const& stream = t.program->streams[static_cast<std::size_t>(step.stream)].name;
    auto const known = std::find(trace.streams.begin(), trace.streams.end(), stream);
    auto const at = static_cast<int>(known - trace.streams.begin());
    if (known == trace.streams.end()) trace.streams.push_back(stream);
    auto const kind = std::string(program::name_of(step.kind));
    trace.events.push_back({.stream = at,
                            .name = text(step.layer, step.layer.empty() ? "" : " ", step.op.empty() ? kind : step.op),
                            .kind = kind,
                            .program = t.program->name,
                            .step = t.step,
                            .micro_batch = step.micro_batch,
                            .stage = step.stage,
                            .bytes = step.bytes,
                            .flops = step.flops,
                            .waited_ns = t.waited_ns,
                            .start_ns = t.start_ns - ahead_ns,
                            .end_ns = t.end_ns - ahead_ns,
                            .message = messages.name(*t.program, step)});
  }
  return trace;
}

std::string chrome_events(RankTrace const& trace, std::int64_t origin_ns) {
  std::string out;
  auto const add = [&](ordered_json const& event) {
    out += out.empty() ? "" : ",\n";
    out += event.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  };
  auto const meta = [&](char const* what, int thread, ordered_json arguments) {
    add({{"ph", "M"}, {"pid", trace.rank}, {"tid", thread}, {"name", what}, {"args", std::move(arguments)}});
  };
  meta("process_name", 0, {{"name", trace.name}});
  meta("process_sort_index", 0, {{"sort_index", trace.rank}});
  for (std::size_t s = 0; s < trace.streams.size(); ++s) {
    meta("thread_name", static_cast<int>(s), {{"name", trace.streams[s]}});
    meta("thread_sort_index", static_cast<int>(s), {{"sort_index", s}});
  }
  for (auto const& e : trace.events) {
    ordered_json arguments{{"program", e.program}, {"step", e.step}};
    if (e.micro_batch >= 0) arguments["micro_batch"] = e.micro_batch;
    arguments["stage"] = e.stage;
    arguments["bytes"] = e.bytes;
    arguments["flops"] = e.flops;
    if (e.waited_ns > 0) arguments["waited_us"] = microseconds(e.waited_ns);
    add({{"ph", "X"},
         {"pid", trace.rank},
         {"tid", e.stream},
         {"name", e.name},
         {"cat", e.kind},
         {"ts", microseconds(e.start_ns - origin_ns)},
         {"dur", microseconds(e.end_ns - e.start_ns)},
         {"args", std::move(arguments)}});
    if (e.message.empty()) continue;
    // An arrow begins and ends inside the events that it connects: readers look for what is open at that time.
    bool const begins = e.kind == program::name_of(StepKind::send);
    auto const when = begins ? e.start_ns : std::max(e.start_ns, e.end_ns - 1);
    ordered_json arrow{{"ph", begins ? "s" : "f"},
                       {"pid", trace.rank},
                       {"tid", e.stream},
                       {"name", "message"},
                       {"cat", "message"},
                       {"id", "0x" + hex(hash64(e.message))},
                       {"ts", microseconds(when - origin_ns)}};
    if (!begins) arrow["bp"] = "e";
    add(arrow);
  }
  return out;
}

std::string chrome_document(std::vector<std::string> const& ranks, std::int64_t step, std::int64_t uncertainty_ns) {
  std::string out = text("{\"displayTimeUnit\":\"ms\",\"otherData\":{\"step\":", step, ",\"ranks\":", ranks.size(),
                         ",\"clock_uncertainty_us\":", exact(microseconds(uncertainty_ns)), "},\n\"traceEvents\":[");
  std::string_view before = "\n";
  for (auto const& events : ranks) {
    if (events.empty()) continue;
    out += before;
    out += events;
    before = ",\n";
  }
  return out + "\n]}\n";
}

void write_trace(runtime::Executor const& executor, comm::Communicator const& world, std::string const& host,
                 std::string const& run_dir, std::int64_t step) {
  auto const clock = comm::measure_clock(world);
  auto const trace = trace_of(executor, host, clock.offset_ns);
  auto first = std::numeric_limits<std::int64_t>::max();
  for (auto const& e : trace.events) first = std::min(first, e.start_ns);
  auto const origin = world.all_min(first);
  auto const uncertainty = world.all_max(clock.uncertainty_ns);
  auto const all = world.gather_bytes(chrome_events(trace, origin), 0);
  if (world.rank() != 0) return;
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld.json", static_cast<long long>(step));
  auto const file = text(run_dir, "/trace/", name);
  try {
    std::error_code refused;  // then the file cannot be written either
    std::filesystem::create_directories(run_dir + "/trace", refused);
    write_atomically(file, chrome_document(all, step, uncertainty));
    log::info("trace of step ", step, ": ", file);
  } catch (Error const& e) {
    log::warn("the trace of step ", step, " could not be written, training goes on\n", e.what());
  }
}

}  // namespace lamina::train
