#include "support/program_builder.hpp"

#include <algorithm>

#include "lamina/base/text.hpp"

namespace lamina::test {

using namespace program;

namespace {

std::int64_t rounded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

int ProgramBuilder::add_group(Group group, std::vector<int> members) {
  t_.groups.push_back(std::move(group));
  members_.push_back(std::move(members));
  return group_count() - 1;
}

int ProgramBuilder::add_persistent(Role role, TensorSpec spec, Shape global, std::vector<Hyperslab> slabs,
                                   std::string name) {
  auto const space = static_cast<Space>(random_.one_in(4) ? random_.below(4) : 0);
  auto& end = persistent_end_[static_cast<std::size_t>(space)];
  auto const bytes = rounded(spec.bytes());
  t_.buffers.push_back({.name = name.empty() ? text("p", t_.buffers.size()) : std::move(name),
                        .role = role,
                        .spec = spec,
                        .global_shape = slabs.empty() ? spec.shape : global,
                        .space = space,
                        .offset = end,
                        .bytes = random_.one_in(3) ? spec.bytes() : bytes});
  end += bytes;
  slabs_.resize(t_.buffers.size());
  slabs_.back() = std::move(slabs);
  return static_cast<int>(t_.buffers.size()) - 1;
}

void ProgramBuilder::begin_program(std::string name) {
  t_.programs.emplace_back().name = std::move(name);
  program().streams.push_back({"compute"});
  live_.clear(), written_.clear(), uses_.clear(), before_.clear(), last_of_stream_.clear();
}

/// Somewhere no live buffer of this program is, at the end when luck does not help.
std::int64_t ProgramBuilder::find_place(Space space, std::int64_t bytes) {
  auto const s = static_cast<std::size_t>(space);
  auto const begin = persistent_end_[s], end = std::max(begin, t_.arena_bytes[s]);
  auto const is_free = [&](std::int64_t offset) {
    return std::ranges::none_of(live_, [&](int id) {
      auto const& b = buffer(id);
      return b.space == space && b.offset < offset + bytes && offset < b.offset + b.bytes;
    });
  };
  for (int tries = 0; tries < 12 && end > begin; ++tries) {
    auto const offset = begin + 64 * random_.below(static_cast<int>((end - begin) / 64));
    if (is_free(offset)) return offset;
  }
  return end;
}

int ProgramBuilder::add_transient(Role role, TensorSpec const& spec, std::string name) {
  auto const space = static_cast<Space>(random_.one_in(5) ? random_.below(4) : 0);
  auto const bytes = rounded(spec.bytes());
  auto const offset = find_place(space, bytes);
  auto& arena = t_.arena_bytes[static_cast<std::size_t>(space)];
  arena = std::max(arena, offset + bytes);
  int const id = static_cast<int>(t_.buffers.size());
  t_.buffers.push_back({.name = name.empty() ? text("t", id) : std::move(name),
                        .role = role,
                        .spec = spec,
                        .global_shape = spec.shape,
                        .space = space,
                        .offset = offset,
                        .bytes = random_.one_in(4) ? spec.bytes() : bytes,
                        .program = static_cast<int>(t_.programs.size()) - 1});
  live_.insert(id);
  return id;
}

int ProgramBuilder::stream_of(Step const& s) {
  if (!is_communication(s.kind)) {
    if (s.kind == StepKind::kernel || random_.one_in(3)) return 0;
  }
  auto& streams = program().streams;
  auto const wanted = is_communication(s.kind)
                          ? Stream{"comm." + t_.groups[static_cast<std::size_t>(s.group)].name, s.group}
                          : Stream{"copy"};
  auto const at = std::ranges::find(streams, wanted);
  if (at != streams.end()) return static_cast<int>(at - streams.begin());
  streams.push_back(wanted);
  return static_cast<int>(streams.size()) - 1;
}

void ProgramBuilder::wait_for(Step& s, std::bitset<max_steps>& known, int stream, int earlier) {
  auto const bit = static_cast<std::size_t>(earlier);
  if (stream == s.stream || std::ranges::find(s.after, earlier) != s.after.end()) return;
  if (known[bit] && !random_.one_in(4)) return;
  s.after.push_back(earlier);
  known |= before_[bit];
  known.set(bit);
}

int ProgramBuilder::add(Step s) {
  int const id = static_cast<int>(program().steps.size());
  s.stream = stream_of(s);
  std::bitset<max_steps> known;
  if (auto const at = last_of_stream_.find(s.stream); at != last_of_stream_.end()) {
    known = before_[static_cast<std::size_t>(at->second)];
    known.set(static_cast<std::size_t>(at->second));
  }
  auto const accumulated = s.kind == StepKind::kernel ? s.attributes.integer("accumulate", 0) : 0;
  std::map<int, bool> operands;  // buffer -> written
  for (int const b : s.in) operands[b];
  for (int const b : s.out) operands[b] = true;
  for (auto const& [b, writes] : operands) {
    auto const& own = buffer(b);
    if (own.program != -1 && !uses_.contains(b)) {  // first use: whoever had these bytes before must be through
      for (auto const& [other, streams] : uses_) {
        auto const& o = buffer(other);
        bool const shares = o.program != -1 && o.space == own.space && o.offset < own.offset + own.bytes &&
                            own.offset < o.offset + o.bytes;
        for (auto const& [stream, use] : streams) {
          if (shares) wait_for(s, known, stream, use.last);
        }
      }
    }
    bool const reads = std::ranges::count(s.in, b) > 0 || accumulated != 0;
    for (auto const& [stream, use] : uses_[b]) {
      if (writes) wait_for(s, known, stream, use.last);
      if (reads && use.last_write >= 0) wait_for(s, known, stream, use.last_write);
    }
  }
  std::ranges::sort(s.after);
  for (auto const& [b, writes] : operands) {
    auto& use = uses_[b][s.stream];
    if (use.first < 0) use.first = id;
    use.last = id;
    if (writes) use.last_write = id, written_.insert(b);
  }
  before_.push_back(known);
  last_of_stream_[s.stream] = id;
  program().steps.push_back(std::move(s));
  return id;
}

int ProgramBuilder::kernel(std::vector<int> in, std::vector<int> out, Step extra) {
  extra.kind = StepKind::kernel;
  extra.op = random_.one_in(2) ? "linear" : "gelu";
  extra.in = std::move(in), extra.out = std::move(out);
  extra.flops = random_.below(1000);
  return add(std::move(extra));
}

std::vector<int> ProgramBuilder::readables() const {
  std::vector<int> out;
  for (int id = 0; id < static_cast<int>(t_.buffers.size()); ++id) {
    if (buffer(id).program == -1 || (live_.contains(id) && written_.contains(id))) out.push_back(id);
  }
  return out;
}

int ProgramBuilder::readable(TensorSpec const& spec, std::string const& name) {
  std::vector<int> fitting;
  for (int const id : readables()) {
    if (buffer(id).spec == spec && (name.empty() || buffer(id).name == name)) fitting.push_back(id);
  }
  if (!fitting.empty() && !random_.one_in(3)) return random_.of(fitting);
  int const id = add_transient(Role::activation, spec, name);
  kernel({}, {id});
  return id;
}

std::shared_ptr<Template const> ProgramBuilder::finish() {
  for (std::size_t s = 0; s < 4; ++s) t_.arena_bytes[s] = std::max(t_.arena_bytes[s], persistent_end_[s]);
  return std::make_shared<Template const>(std::move(t_));
}

}  // namespace lamina::test
