#include <algorithm>
#include <charconv>

#include "program/detail/verify.hpp"

namespace lamina::program::detail {
namespace {

/// Checks one step; collects nothing but the verdict.
class StepCheck {
 public:
  StepCheck(Template const& t, Program const& p, int index, int step, Reporter& report)
      : t_(t), p_(p), s_(p.steps[static_cast<std::size_t>(step)]), index_(index), step_(step), report_(report) {}

  bool run() {
    if (!ids()) return false;
    stream();
    operands();
    return sound_;
  }

 private:
  template <class... Ts>
  void wrong(std::string_view rule, Ts const&... message) {
    report_.add_step(rule, p_, step_, message...);
    sound_ = false;
  }

  bool ids() {
    auto const in = [](int id, std::size_t n) { return id >= 0 && static_cast<std::size_t>(id) < n; };
    if (!in(s_.stream, p_.streams.size())) wrong("id", "is on stream ", s_.stream, " of ", p_.streams.size());
    if (s_.group != -1 && !in(s_.group, t_.groups.size()))
      wrong("id", "names group ", s_.group, " of ", t_.groups.size());
    for (auto const* list : {&s_.in, &s_.out}) {
      for (int const b : *list) {
        if (!in(b, t_.buffers.size())) {
          wrong("id", "names buffer %", b, " of ", t_.buffers.size());
        } else if (int const owner = t_.buffers[static_cast<std::size_t>(b)].program; owner != -1 && owner != index_) {
          wrong("foreign_buffer", "uses buffer ", describe_buffer(t_, b), ", which lives inside program '",
                t_.programs[static_cast<std::size_t>(owner)].name, "' only");
        }
      }
    }
    for (int const a : s_.after) {
      if (!in(a, p_.steps.size())) {
        wrong("id", "waits for step ", a, " of ", p_.steps.size());
      } else if (a >= step_) {
        wrong("after", "waits for ", describe_step(p_, a), ", which is not issued before it");
      }
    }
    return sound_;
  }

  void stream() {
    auto const& stream = p_.streams[static_cast<std::size_t>(s_.stream)];
    if (is_communication(s_.kind)) {
      if (stream.group == -1 || s_.group != stream.group) {
        wrong(
            "stream", "communicates over group ",
            s_.group == -1 ? std::string("(none)") : text("'", t_.groups[static_cast<std::size_t>(s_.group)].name, "'"),
            " on stream '", stream.name, "'; the stream of its group is the only one it may be on");
      }
    } else {
      bool const fits = s_.kind == StepKind::copy ? stream.group == -1 : s_.stream == 0;
      if (!fits) {
        wrong("stream", "is a ", name_of(s_.kind), " on stream '", stream.name, "'; it belongs on 'compute'",
              s_.kind == StepKind::copy ? " or 'copy'" : "");
      }
      if (s_.group != -1) wrong("operand", "names a group and is a ", name_of(s_.kind));
    }
    bool const has_peer = s_.kind == StepKind::send || s_.kind == StepKind::recv || s_.kind == StepKind::broadcast;
    if (has_peer ? s_.peer < 0 : s_.peer != -1) {
      wrong("operand", has_peer ? "needs a peer and has " : "takes no peer and has ", s_.peer);
    }
    if (s_.kind == StepKind::kernel && s_.op.empty()) wrong("operand", "is a kernel without an operator");
    if (s_.kind != StepKind::kernel && !s_.op.empty()) wrong("operand", "is no kernel and names the operator ", s_.op);
  }

  void operands() {
    if (s_.out.size() > 1) {
      auto sorted = s_.out;
      std::ranges::sort(sorted);
      if (std::ranges::adjacent_find(sorted) != sorted.end()) wrong("operand", "writes a buffer twice");
    }
    auto const count = [&](std::size_t in, std::size_t out) {
      if (s_.in.size() != in || s_.out.size() != out) {
        wrong("operand", "reads ", s_.in.size(), " and writes ", s_.out.size(), " buffers; a ", name_of(s_.kind),
              " reads ", in, " and writes ", out);
      }
    };
    switch (s_.kind) {
      case StepKind::kernel:
        return accumulate();
      case StepKind::send:
        return count(1, 0);
      case StepKind::recv:
        return count(0, 1);
      case StepKind::barrier:
        return count(0, 0);
      case StepKind::copy:
        return pairs(/*may_be_same=*/false);
      case StepKind::all_reduce:
        if (s_.in != s_.out || s_.in.empty()) wrong("operand", "must read and write the same buffers, at least one");
        return reduction(), one_dtype();
      case StepKind::broadcast:
        if ((!s_.in.empty() && s_.in != s_.out) || s_.out.empty()) {
          wrong("operand", "must write at least one buffer and read the same ones, or none on a rank that receives");
        }
        return one_dtype();
      case StepKind::all_to_all:
        return pairs(/*may_be_same=*/false), one_dtype();
      case StepKind::reduce_scatter:
        return pairs(/*may_be_same=*/true), reduction(), one_dtype(), rows();
      case StepKind::all_gather:
        return pairs(/*may_be_same=*/true), one_dtype(), rows();
    }
    wrong("operand", "is of no known kind");
  }

  TensorSpec const& spec(int buffer) const { return t_.buffers[static_cast<std::size_t>(buffer)].spec; }

  void accumulate() {
    auto const* value = s_.attributes.find("accumulate");
    if (!value) return;
    auto const* mask = std::get_if<std::int64_t>(value);
    auto const outs = s_.out.size();
    if (!mask || *mask < 0 || (outs < 62 && *mask >= (std::int64_t{1} << outs))) {
      wrong("operand", "has an attribute 'accumulate' that is no bit mask over its ", outs, " outputs");
    }
  }

  void reduction() {
    auto const* value = s_.attributes.find("reduce");
    auto const* op = value ? std::get_if<std::string>(value) : nullptr;
    if (value && (!op || (*op != "sum" && *op != "max")))
      wrong("operand", "has a 'reduce' that is not \"sum\" or \"max\"");
  }

  void one_dtype() {
    for (auto const* list : {&s_.in, &s_.out}) {
      for (int const b : *list) {
        if (!s_.out.empty() && spec(b).dtype != spec(s_.out[0]).dtype) {
          return wrong("operand", "mixes ", spec(b).dtype, " and ", spec(s_.out[0]).dtype, " in one message");
        }
      }
    }
  }

  /// in[i] belongs to out[i]; the same buffer only where a step may work in place.
  void pairs(bool may_be_same) {
    if (s_.in.size() != s_.out.size() || s_.in.empty()) {
      return wrong("operand", "reads ", s_.in.size(), " and writes ", s_.out.size(), " buffers; it needs pairs");
    }
    for (std::size_t i = 0; i < s_.in.size(); ++i) {
      auto const &from = spec(s_.in[i]), &to = spec(s_.out[i]);
      if (s_.in[i] == s_.out[i]) {
        if (!may_be_same) wrong("operand", "cannot work in place on ", describe_buffer(t_, s_.in[i]));
      } else if (std::ranges::find(s_.out, s_.in[i]) != s_.out.end()) {
        wrong("operand", "reads ", describe_buffer(t_, s_.in[i]), " and writes it for another operand");
      } else if (!may_be_same && !(from == to)) {
        wrong("operand", "moves ", from, " to ", to);
      }
    }
  }

  void rows() {
    auto const lists = parse_rows(s_);
    if (!lists || (!lists->empty() && lists->size() != s_.in.size())) {
      wrong("rows", "has an attribute 'rows' that is not one ascending list per operand, such as \"0,4,8;0,1,2\"");
    }
    auto const of = parse_rows_of(s_);
    if (!of) {
      return wrong("rows", "has attributes 'dim' and 'flat' that are not a dim, or 1 without a dim");
    }
    auto const& wholes = s_.kind == StepKind::all_gather ? s_.out : s_.in;
    for (int const b : wholes) {
      auto const ndim = spec(b).shape.ndim();
      if (ndim == 0) {
        wrong("rows", "splits ", describe_buffer(t_, b), ", which has no dims");
      } else if (of->dim >= ndim) {
        wrong("rows", "splits dim ", of->dim, " of ", describe_buffer(t_, b), " ", spec(b));
      }
    }
    for (std::size_t i = 0; of->dim > 0 && i < std::min(s_.in.size(), s_.out.size()); ++i) {
      if (s_.in[i] == s_.out[i]) {
        wrong("rows", "works in place on ", describe_buffer(t_, s_.in[i]), ", whose rows of dim ", of->dim,
              " do not lie together; flat rows and those of dim 0 do");
      }
    }
  }

  Template const& t_;
  Program const& p_;
  Step const& s_;
  int index_, step_;
  Reporter& report_;
  bool sound_ = true;
};

}  // namespace

std::optional<std::vector<Rows>> parse_rows(Step const& step) {
  std::vector<Rows> lists;
  auto const* value = step.attributes.find("rows");
  if (!value) return lists;
  auto const* list = std::get_if<std::string>(value);
  if (!list) return std::nullopt;
  char const *at = list->data(), *const end = at + list->size();
  for (;;) {
    if (lists.empty() || *at == ';') {
      if (!lists.empty()) ++at;
      lists.emplace_back();
    } else if (*at == ',') {
      ++at;
    } else {
      return std::nullopt;
    }
    auto& n = lists.back().emplace_back();
    auto const [behind, error] = std::from_chars(at, end, n);
    if (error != std::errc() || n < 0) return std::nullopt;
    at = behind;
    if (at == end) break;
  }
  for (auto const& rows : lists) {
    if (rows.size() < 2 || rows.front() != 0 || !std::ranges::is_sorted(rows)) return std::nullopt;
  }
  return lists;
}

std::optional<RowsOf> parse_rows_of(Step const& step) {
  RowsOf of;
  std::int64_t flat = 0, dim = 0;
  for (auto const& [name, to] : {std::pair{"dim", &dim}, std::pair{"flat", &flat}}) {
    auto const* value = step.attributes.find(name);
    if (!value) continue;
    auto const* n = std::get_if<std::int64_t>(value);
    if (!n || *n < 0) return std::nullopt;
    *to = *n;
  }
  if (flat > 1 || dim >= Shape::max_dims || (flat == 1 && dim > 0)) return std::nullopt;
  of.dim = static_cast<int>(dim), of.flat = flat == 1;
  return of;
}

std::int64_t row_count(Shape const& shape, RowsOf of) {
  if (!of.flat) return shape[of.dim];
  std::int64_t rows = 1;
  for (int d = 0; d < shape.ndim(); ++d) {
    if (shape[d] == 0) return 0;
  }
  for (int d = 0; d + 1 < std::max(2, shape.ndim()); ++d) rows *= shape[d];
  return rows;
}

bool check_steps(Template const& shape, Program const& program, int index, Reporter& report) {
  bool sound = true;
  for (int i = 0; i < static_cast<int>(program.steps.size()); ++i) {
    sound = StepCheck(shape, program, index, i, report).run() && sound;
  }
  return sound;
}

}  // namespace lamina::program::detail
