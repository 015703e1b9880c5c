#include <array>
#include <map>
#include <optional>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "program/detail/line.hpp"
#include "program/detail/text_form.hpp"

namespace lamina::program {
namespace {

using detail::Line;

constexpr std::int64_t max_slabs = std::int64_t{1} << 20;

template <class Enum>
std::optional<Enum> find_enum(std::string_view name, Enum last) {
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (name_of(static_cast<Enum>(i)) == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

class Parser {
 public:
  ProgramSet parse(std::string_view text);

 private:
  void item(Line& line);
  void arena(Line& line);
  void rank(Line& line);
  void axes(Line& line);
  void coordinates(Line& line);
  void members(Line& line);
  void slabs(Line& line);
  void slab(Line& line);
  void group(Line& line);
  void buffer(Line& line);
  void program(Line& line);
  void stream(Line& line);
  void step(Line& line);
  void step_field(Line& line, Step& s);

  using Ids = std::map<std::string, int, std::less<>>;
  static int reference(Line& line, std::string_view word, Ids const& ids, std::string_view what);
  Program& current(Line& line);

  Template t_;
  Binding b_;
  Ids groups_, streams_;  // name -> first id
  bool has_arena_ = false, has_rank_ = false;
};

ProgramSet Parser::parse(std::string_view text) {
  bool has_header = false;
  std::int64_t number = 0;
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!content.empty() && content.back() == '\r') content.remove_suffix(1);
    Line line(content, ++number);
    if (line.at_end() || line.peek().front() == '#') continue;
    if (has_header) {
      item(line);
    } else {
      has_header = true;
      auto const expected = lamina::text(detail::header_word, " ", detail::format_version);
      if (line.next(expected) != detail::header_word || line.at_end() ||
          line.next(expected) != lamina::text(detail::format_version)) {
        line.wrong("header", content, expected);
      }
    }
    line.expect_end();
  }
  Line const after_last("", number + 1);
  if (!has_header) after_last.wrong("header", "the end of the text", detail::header_word);
  if (!has_rank_) after_last.wrong("item", "the end of the text", "a line 'rank <r> of <world>'");
  if (!has_arena_) after_last.wrong("item", "the end of the text", "a line 'arena ...'");
  return {std::make_shared<Template const>(std::move(t_)), std::move(b_)};
}

void Parser::item(Line& line) {
  struct Item {
    std::string_view word;
    void (Parser::*read)(Line&);
  };
  constexpr std::array<Item, 12> items{{{"step", &Parser::step},
                                        {"buffer", &Parser::buffer},
                                        {"slab", &Parser::slab},
                                        {"stream", &Parser::stream},
                                        {"program", &Parser::program},
                                        {"group", &Parser::group},
                                        {"members", &Parser::members},
                                        {"rank", &Parser::rank},
                                        {"axes", &Parser::axes},
                                        {"coordinates", &Parser::coordinates},
                                        {"slabs", &Parser::slabs},
                                        {"arena", &Parser::arena}}};
  auto const word = line.next("an item");
  for (auto const& i : items) {
    if (i.word == word) return (this->*i.read)(line);
  }
  std::vector<std::string> known;
  for (auto const& i : items) known.emplace_back(i.word);
  auto const near = closest(word, known);
  line.wrong("item", word, near.empty() ? text("one of ", join(known)) : text("'", near, "'?"));
}

void Parser::arena(Line& line) {
  if (has_arena_) line.wrong("item", "a second 'arena'", "one line 'arena'");
  has_arena_ = true;
  t_.arena_bytes.clear();
  while (!line.at_end()) {
    auto const i = t_.arena_bytes.size();
    auto const expected = i < 4 ? std::string(name_of(static_cast<Space>(i))) : text("space", i);
    auto const f = line.field();
    if (f.key != expected) line.wrong("field", f.key, text(expected, "=<bytes>"));
    t_.arena_bytes.push_back(line.to_integer(f.value, "bytes"));
  }
}

void Parser::rank(Line& line) {
  if (has_rank_) line.wrong("item", "a second 'rank'", "one line 'rank'");
  has_rank_ = true;
  b_.rank = line.id("a rank");
  if (auto const of = line.next("'of'"); of != "of") line.wrong("word", of, "'of'");
  b_.world = line.id("the number of ranks");
}

void Parser::axes(Line& line) {
  if (!b_.axes.empty()) line.wrong("item", "a second 'axes'", "one line 'axes'");
  do {
    b_.axes.push_back(line.name("the name of a mesh axis"));
  } while (!line.at_end());
}

void Parser::coordinates(Line& line) {
  if (!b_.coordinates.empty()) line.wrong("item", "a second 'coordinates'", "one line 'coordinates'");
  do {
    b_.coordinates.push_back(line.id("a coordinate"));
  } while (!line.at_end());
}

void Parser::members(Line& line) {
  line.expect_id(b_.members.size(), "members");
  auto& list = b_.members.emplace_back();
  if (!line.at_end()) line.add_ranges(line.next("ranks"), list);
}

void Parser::slabs(Line& line) {
  if (!b_.slabs.empty()) line.wrong("item", "a second 'slabs'", "one line 'slabs'");
  auto const n = line.integer("the number of buffers");
  if (n < 1 || n > max_slabs) line.wrong("limit", text(n), text("1 to ", max_slabs, " buffers"));
  b_.slabs.resize(static_cast<std::size_t>(n));
}

void Parser::slab(Line& line) {
  auto const id = line.id("a buffer");
  if (id < 0 || static_cast<std::size_t>(id) >= b_.slabs.size()) {
    line.wrong("order", text(id), text("a buffer below the number on the line 'slabs', ", b_.slabs.size()));
  }
  auto const offset = line.to_shape(line.next("the offset of a box"));
  auto const extent = line.to_shape(line.next("the extent of a box"));
  b_.slabs[static_cast<std::size_t>(id)].push_back({offset, extent});
}

int Parser::reference(Line& line, std::string_view word, Ids const& ids, std::string_view what) {
  if (word.starts_with('#')) return line.to_int(word.substr(1), what);
  auto const at = ids.find(word);
  if (at == ids.end()) line.wrong("name", word, text("the name of ", what, " that was listed above, or #<id>"));
  return at->second;
}

void Parser::group(Line& line) {
  line.expect_id(t_.groups.size(), "group");
  auto& g = t_.groups.emplace_back();
  g.name = line.name("the name of a group");
  auto const word = line.next("a transport");
  auto const transport = find_enum<Transport>(word, Transport::nccl);
  if (!transport) line.wrong("name", word, "mpi, shm or nccl");
  g.transport = *transport;
  while (!line.at_end()) {
    auto const f = line.field();
    if (f.key != "axis") line.wrong("field", f.key, "axis=<name>");
    g.axis = line.to_text(f.value, "an axis");
  }
  groups_.try_emplace(g.name, static_cast<int>(t_.groups.size()) - 1);
}

void Parser::buffer(Line& line) {
  line.expect_id(t_.buffers.size(), "buffer");
  auto& b = t_.buffers.emplace_back();
  b.name = line.name("the name of a buffer");
  auto const role_word = line.next("a role");
  auto const role = find_role(role_word);
  if (!role) line.wrong("name", role_word, "a role such as parameter or activation");
  b.role = *role;
  b.spec = line.to_spec(line.next("a tensor such as f32[2,3]"));
  b.global_shape = b.spec.shape;
  auto const space_word = line.next("a space");
  auto const space = find_enum<Space>(space_word, Space::device);
  if (!space) line.wrong("name", space_word, "host, shared, pinned or device");
  b.space = *space;
  auto const place = line.next("offset+bytes");
  auto const plus = place.find('+');
  if (plus == place.npos) line.wrong("number", place, "offset+bytes");
  b.offset = line.to_integer(place.substr(0, plus), "an offset");
  b.bytes = line.to_integer(place.substr(plus + 1), "bytes");
  while (!line.at_end()) {
    auto const f = line.field();
    if (f.key == "global") {
      b.global_shape = line.to_shape(f.value);
    } else if (f.key == "program") {
      b.program = line.to_int(f.value, "a program");
    } else {
      line.wrong("field", f.key, "global=<shape> or program=<id>");
    }
  }
}

void Parser::program(Line& line) {
  line.expect_id(t_.programs.size(), "program");
  t_.programs.emplace_back().name = line.name("the name of a program");
  streams_.clear();
}

Program& Parser::current(Line& line) {
  if (t_.programs.empty()) line.wrong("order", "no program yet", "a line 'program' before streams and steps");
  return t_.programs.back();
}

void Parser::stream(Line& line) {
  auto& p = current(line);
  if (!p.steps.empty()) line.wrong("order", "a stream after a step", "the streams of a program before its steps");
  line.expect_id(p.streams.size(), "stream");
  auto& s = p.streams.emplace_back();
  s.name = line.name("the name of a stream");
  while (!line.at_end()) {
    auto const f = line.field();
    if (f.key != "group") line.wrong("field", f.key, "group=<name>");
    s.group = reference(line, f.value, groups_, "a group");
  }
  streams_.try_emplace(s.name, static_cast<int>(p.streams.size()) - 1);
}

void Parser::step(Line& line) {
  auto& p = current(line);
  line.expect_id(p.steps.size(), "step");
  auto& s = p.steps.emplace_back();
  s.stream = reference(line, line.next("a stream"), streams_, "a stream");
  if (s.stream >= 0 && static_cast<std::size_t>(s.stream) < p.streams.size()) {
    s.group = p.streams[static_cast<std::size_t>(s.stream)].group;
  }
  auto const verb = line.next("an operator or a kind of step");
  auto const kind = find_enum<StepKind>(verb, StepKind::barrier);
  s.kind = kind.value_or(StepKind::kernel);
  if (!kind) s.op = line.to_text(verb, "an operator");
  auto* list = &s.in;
  for (;;) {
    auto const word = line.next("%<buffer> or '->'");
    if (word == "->" && list == &s.in) {
      list = &s.out;
    } else if (word.front() == '%') {
      list->push_back(line.to_int(word.substr(1), "a buffer"));
    } else {
      line.wrong("word", word, "'%<buffer> ... -> %<buffer> ...', then fields");
    }
    if (list == &s.out && (line.at_end() || line.peek().front() != '%')) break;
  }
  while (!line.at_end()) step_field(line, s);
}

void Parser::step_field(Line& line, Step& s) {
  auto const [key, value] = line.field();
  if (key.starts_with('.')) {
    auto name = line.to_text(key.substr(1), "the name of an attribute");
    if (s.attributes.has(name)) line.wrong("field", key, "the attribute once");
    s.attributes.set(std::move(name), line.to_attribute(value));
  } else if (key == "op" && s.op.empty()) {
    s.op = line.to_text(value, "an operator");
  } else if (key == "group") {
    s.group = reference(line, value, groups_, "a group");
  } else if (key == "peer") {
    s.peer = line.to_int(value, "a member of the group");
  } else if (key == "after") {
    s.after = line.to_list(value);
  } else if (key == "layer") {
    s.layer = line.to_text(value, "a layer path");
  } else if (key == "mb") {
    s.micro_batch = line.to_int(value, "a micro-batch");
  } else if (key == "stage") {
    s.stage = line.to_int(value, "a stage");
  } else if (key == "bytes") {
    s.bytes = line.to_integer(value, "bytes");
  } else if (key == "flops") {
    s.flops = line.to_integer(value, "flops");
  } else {
    line.wrong("field", key, "op, group, peer, after, layer, mb, stage, bytes, flops or .<attribute>");
  }
}

}  // namespace

ProgramSet parse(std::string_view text) { return Parser().parse(text); }

}  // namespace lamina::program
