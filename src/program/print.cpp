#include <charconv>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "program/detail/text_form.hpp"

namespace lamina::program {
namespace {

/// Builds lines of space-separated words. Streams of the standard library would dominate the time of a plan.
class Writer {
 public:
  template <class... Words>
  Writer& line(Words const&... words) {
    if (!out_.empty()) out_ += '\n';
    fresh_ = true;
    (add(words), ...);
    return *this;
  }
  Writer& add(std::string_view raw) {
    space();
    out_ += raw;
    return *this;
  }
  Writer& add(char const* raw) { return add(std::string_view(raw)); }
  Writer& add(std::int64_t n) {
    space();
    number(n);
    return *this;
  }
  Writer& add(int n) { return add(std::int64_t{n}); }
  Writer& add(std::size_t n) { return add(static_cast<std::int64_t>(n)); }
  Writer& add(Shape const& s) {
    space();
    shape(s);
    return *this;
  }
  Writer& add(TensorSpec const& s) {
    add(name_of(s.dtype));
    shape(s.shape);
    return *this;
  }
  /// A text, quoted where it must be.
  Writer& name(std::string_view s) {
    space();
    quotable(s);
    return *this;
  }
  Writer& field(std::string_view key, std::int64_t n) {
    add(key);
    out_ += '=';
    number(n);
    return *this;
  }
  Writer& field(std::string_view key, std::string_view s) {
    add(key);
    out_ += '=';
    quotable(s);
    return *this;
  }
  Writer& field(std::string_view key, std::vector<int> const& list) {
    add(key);
    char before = '=';
    for (int const n : list) out_ += before, number(n), before = ',';
    return *this;
  }
  Writer& field(std::string_view key, Shape const& s) {
    add(key);
    out_ += '=';
    shape(s);
    return *this;
  }
  Writer& attribute(std::string_view key, Attribute const& value) {
    space();
    out_ += '.';
    quotable(key);
    out_ += '=';
    if (auto const* i = std::get_if<std::int64_t>(&value)) {
      number(*i);
    } else if (auto const* d = std::get_if<double>(&value)) {
      out_ += exact(*d);
    } else {
      detail::append_quoted(out_, std::get<std::string>(value));
    }
    return *this;
  }
  Writer& prefixed(char prefix, std::int64_t n) {
    space();
    out_ += prefix;
    number(n);
    return *this;
  }
  Writer& joined(std::int64_t a, char between, std::int64_t b) {
    add(a);
    out_ += between;
    number(b);
    return *this;
  }
  void more(std::string_view raw) { out_ += raw; }
  void number(std::int64_t n) {
    char digits[24];
    out_.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
  }
  std::string finish() {
    if (!out_.empty()) out_ += '\n';
    return std::move(out_);
  }

 private:
  void space() {
    if (!fresh_) out_ += ' ';
    fresh_ = false;
  }
  void quotable(std::string_view s) {
    if (detail::is_bare(s)) {
      out_ += s;
    } else {
      detail::append_quoted(out_, s);
    }
  }
  void shape(Shape const& s) {
    out_ += '[';
    for (int d = 0; d < s.ndim(); ++d) {
      if (d > 0) out_ += ',';
      number(s[d]);
    }
    out_ += ']';
  }

  std::string out_;
  bool fresh_ = true;
};

/// "0-7,9,16-64/16": runs of three or more with one positive stride are written as a range.
void add_ranges(Writer& w, std::vector<int> const& list) {
  std::string_view before = " ";
  for (std::size_t i = 0; i < list.size();) {
    std::size_t last = i;
    std::int64_t const stride = i + 1 < list.size() ? std::int64_t{list[i + 1]} - list[i] : 0;
    if (stride > 0 && list[i] >= 0) {
      while (last + 1 < list.size() && std::int64_t{list[last + 1]} - list[last] == stride) ++last;
    }
    if (last < i + 2) last = i;
    w.more(before);
    w.number(list[i]);
    if (last > i) w.more("-"), w.number(list[last]);
    if (last > i && stride > 1) w.more("/"), w.number(stride);
    before = ",";
    i = last + 1;
  }
}

bool is_kind_name(std::string_view s) {
  for (int k = 0; k <= static_cast<int>(StepKind::barrier); ++k) {
    if (name_of(static_cast<StepKind>(k)) == s) return true;
  }
  return false;
}

/// A reference by name where the name leads back to the id, "#<id>" where it does not.
template <class Items>
std::string reference(Items const& items, int id) {
  if (id >= 0 && static_cast<std::size_t>(id) < items.size()) {
    auto const& name = items[static_cast<std::size_t>(id)].name;
    int first = 0;
    while (items[static_cast<std::size_t>(first)].name != name) ++first;
    if (first == id && detail::is_bare(name)) return name;
  }
  return text('#', id);
}

void write_step(Writer& w, std::size_t id, Step const& s, Program const& program,
                std::vector<std::string> const& streams, std::vector<std::string> const& groups) {
  bool const has_stream = s.stream >= 0 && static_cast<std::size_t>(s.stream) < streams.size();
  auto const stream = static_cast<std::size_t>(s.stream);
  w.line("step", id);
  w.add(has_stream ? streams[stream] : text('#', s.stream));
  if (s.kind != StepKind::kernel) {
    w.add(name_of(s.kind));
  } else if (detail::is_bare(s.op) && !is_kind_name(s.op)) {
    w.add(s.op);
  } else {
    std::string quoted;
    detail::append_quoted(quoted, s.op);
    w.add(quoted);
  }
  for (int const b : s.in) w.prefixed('%', b);
  w.add("->");
  for (int const b : s.out) w.prefixed('%', b);
  if (s.kind != StepKind::kernel && !s.op.empty()) w.field("op", s.op);
  if (s.group != (has_stream ? program.streams[stream].group : -1)) {
    bool const known = s.group >= 0 && static_cast<std::size_t>(s.group) < groups.size();
    w.add("group=");
    w.more(known ? groups[static_cast<std::size_t>(s.group)] : text('#', s.group));
  }
  if (s.peer != -1) w.field("peer", s.peer);
  if (!s.after.empty()) w.field("after", s.after);
  if (!s.layer.empty()) w.field("layer", s.layer);
  if (s.micro_batch != -1) w.field("mb", s.micro_batch);
  if (s.stage != 0) w.field("stage", s.stage);
  if (s.bytes != 0) w.field("bytes", s.bytes);
  if (s.flops != 0) w.field("flops", s.flops);
  for (auto const& [name, value] : s.attributes) w.attribute(name, value);
}

void write(Writer& w, Template const& t) {
  w.line("arena");
  for (std::size_t i = 0; i < t.arena_bytes.size(); ++i) {
    w.field(i < 4 ? std::string(name_of(static_cast<Space>(i))) : text("space", i), t.arena_bytes[i]);
  }
  std::vector<std::string> groups, streams;
  for (std::size_t i = 0; i < t.groups.size(); ++i) {
    auto const& g = t.groups[i];
    w.line("group", i).name(g.name).add(name_of(g.transport));
    if (!g.axis.empty()) w.field("axis", g.axis);
    groups.push_back(reference(t.groups, static_cast<int>(i)));
  }
  for (std::size_t i = 0; i < t.buffers.size(); ++i) {
    auto const& b = t.buffers[i];
    w.line("buffer", i).name(b.name).add(name_of(b.role)).add(b.spec).add(name_of(b.space));
    w.joined(b.offset, '+', b.bytes);
    if (!(b.global_shape == b.spec.shape)) w.field("global", b.global_shape);
    if (b.program != -1) w.field("program", b.program);
  }
  for (std::size_t i = 0; i < t.programs.size(); ++i) {
    auto const& p = t.programs[i];
    w.line("program", i).name(p.name);
    streams.clear();
    for (std::size_t s = 0; s < p.streams.size(); ++s) {
      auto const& stream = p.streams[s];
      w.line("stream", s).name(stream.name);
      bool const known = stream.group >= 0 && static_cast<std::size_t>(stream.group) < groups.size();
      if (stream.group != -1) {
        w.add("group=");
        w.more(known ? groups[static_cast<std::size_t>(stream.group)] : text('#', stream.group));
      }
      streams.push_back(reference(p.streams, static_cast<int>(s)));
    }
    for (std::size_t s = 0; s < p.steps.size(); ++s) write_step(w, s, p.steps[s], p, streams, groups);
  }
}

void write(Writer& w, Binding const& b) {
  w.line("rank", b.rank, "of", b.world);
  if (!b.axes.empty()) {
    w.line("axes");
    for (auto const& a : b.axes) w.name(a);
  }
  if (!b.coordinates.empty()) {
    w.line("coordinates");
    for (int const c : b.coordinates) w.add(c);
  }
  for (std::size_t g = 0; g < b.members.size(); ++g) {
    w.line("members", g);
    add_ranges(w, b.members[g]);
  }
  if (!b.slabs.empty()) w.line("slabs", b.slabs.size());
  for (std::size_t i = 0; i < b.slabs.size(); ++i) {
    for (auto const& slab : b.slabs[i]) w.line("slab", i, slab.offset, slab.extent);
  }
}

}  // namespace

std::string print(Template const& shape) {
  Writer w;
  write(w, shape);
  return w.finish();
}

std::string print(Binding const& binding) {
  Writer w;
  write(w, binding);
  return w.finish();
}

std::string print(ProgramSet const& set) {
  Writer w;
  w.line(detail::header_word, detail::format_version);
  write(w, set.binding);
  write(w, *set.shape);
  return w.finish();
}

}  // namespace lamina::program
