#include "support/program_oracle.hpp"

#include <algorithm>
#include <sstream>

#include "lamina/base/text.hpp"
#include "support/program_oracle_order.hpp"

namespace lamina::test {

using namespace program;

bool Verdict::has_rule(std::string const& rule) const {
  return std::ranges::any_of(findings, [&](auto const& f) { return f.rule == rule; });
}

namespace {

bool starts_communication(StepKind k) { return k != StepKind::kernel && k != StepKind::copy; }

/// Rules about one rank that need no order: "tables", then steps, then binding.
class Judge {
 public:
  Judge(ProgramSet const& set, Verdict& verdict) : t_(*set.shape), b_(set.binding), verdict_(verdict) {}

  /// Whether the rest of the world may look at this rank.
  bool template_alone() {
    if (!tables()) return false;
    bool sound = true;
    judge_persistent_bytes(t_, b_.rank, verdict_);
    for (std::size_t p = 0; p < t_.programs.size(); ++p) {
      bool const steps_sound = steps(static_cast<int>(p));
      if (steps_sound) judge_order(t_, static_cast<int>(p), b_.rank, verdict_);
      sound = steps_sound && sound;
    }
    return sound;
  }

  bool binding() {
    auto const before = verdict_.findings.size();
    if (b_.world < 1 || b_.rank < 0 || b_.rank >= b_.world || b_.axes.size() != b_.coordinates.size() ||
        b_.members.size() != t_.groups.size() || b_.slabs.size() > t_.buffers.size()) {
      flag("binding");
      return false;
    }
    for (std::size_t g = 0; g < b_.members.size(); ++g) {
      std::set<int> const distinct(b_.members[g].begin(), b_.members[g].end());
      bool const sound = distinct.size() == b_.members[g].size() && distinct.contains(b_.rank) &&
                         *distinct.begin() >= 0 && *distinct.rbegin() < b_.world;
      if (!sound) {
        flag("members");
        continue;
      }
      for (auto const& p : t_.programs) {
        for (std::size_t i = 0; i < p.steps.size(); ++i) {
          if (p.steps[i].group == static_cast<int>(g)) bound_step(p, static_cast<int>(i), b_.members[g]);
        }
      }
    }
    for (std::size_t i = 0; i < t_.buffers.size(); ++i) {
      if (!slabs_fit(t_.buffers[i], i < b_.slabs.size() ? b_.slabs[i] : std::vector<Hyperslab>{})) flag("slab");
    }
    return verdict_.findings.size() == before;
  }

 private:
  void flag(std::string const& rule, std::string const& program = "", int step = -1) {
    verdict_.findings.insert({rule, b_.rank, program, step});
  }

  static double bytes(TensorSpec const& s) {  // exact below 2^53, and beyond it far too big anyway
    double n = static_cast<double>(sizeof_dtype(s.dtype));
    for (int d = 0; d < s.shape.ndim(); ++d) n *= static_cast<double>(s.shape[d]);
    return n;
  }

  bool tables() {
    auto const before = verdict_.findings.size();
    if (t_.arena_bytes.size() != 4) {
      flag("arena");
      return false;
    }
    for (auto const a : t_.arena_bytes) {
      if (a < 0) flag("arena");
    }
    for (std::size_t i = 0; i < t_.groups.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (t_.groups[i].name == t_.groups[j].name) flag("name");
      }
    }
    for (std::size_t i = 0; i < t_.programs.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (t_.programs[i].name == t_.programs[j].name) flag("name");
      }
      streams(t_.programs[i]);
    }
    for (std::size_t i = 0; i < t_.buffers.size(); ++i) {
      auto const& b = t_.buffers[i];
      bool const transient = b.role == Role::activation || b.role == Role::scratch || b.role == Role::message;
      if (b.program < -1 || b.program >= static_cast<int>(t_.programs.size())) {
        flag("id");
      } else if (transient == (b.program == -1)) {
        flag("lifetime");
      }
      if (static_cast<double>(b.bytes) < bytes(b.spec)) flag("bytes");
      if (b.offset % 64 != 0) flag("alignment");
      auto const arena = static_cast<double>(t_.arena_bytes[static_cast<std::size_t>(b.space)]);
      if (b.offset < 0 || b.bytes < 0 || static_cast<double>(b.offset) + static_cast<double>(b.bytes) > arena)
        flag("arena");
      for (std::size_t j = 0; j < i; ++j) {
        auto const& c = t_.buffers[j];
        if (b.program == -1 && c.program == -1 && b.name == c.name && b.role == c.role) flag("name");
      }
    }
    return verdict_.findings.size() == before;
  }

  void streams(Program const& p) {
    if (p.streams.empty() || p.streams[0].name != "compute") flag("stream", p.name);
    for (std::size_t i = 0; i < p.streams.size(); ++i) {
      auto const& s = p.streams[i];
      for (std::size_t j = 0; j < i; ++j) {
        if (s.name == p.streams[j].name) flag("name", p.name);
      }
      if (s.group < -1 || s.group >= static_cast<int>(t_.groups.size())) {
        flag("id", p.name);
      } else if (s.group >= 0) {
        if (s.name != "comm." + t_.groups[static_cast<std::size_t>(s.group)].name) flag("stream", p.name);
      } else if (s.name != "compute" && s.name != "copy") {
        flag("stream", p.name);
      }
    }
  }

  bool steps(int program) {
    auto const before = verdict_.findings.size();
    auto const& p = t_.programs[static_cast<std::size_t>(program)];
    for (std::size_t i = 0; i < p.steps.size(); ++i) {
      if (ids(p, program, static_cast<int>(i))) shape_of_step(p, static_cast<int>(i));
    }
    return verdict_.findings.size() == before;
  }

  bool ids(Program const& p, int program, int step) {
    auto const& s = p.steps[static_cast<std::size_t>(step)];
    bool sound = true;
    auto const check = [&](bool good, char const* rule) {
      if (!good) flag(rule, p.name, step);
      sound = sound && good;
    };
    check(s.stream >= 0 && s.stream < static_cast<int>(p.streams.size()), "id");
    check(s.group >= -1 && s.group < static_cast<int>(t_.groups.size()), "id");
    for (auto const& list : {s.in, s.out}) {
      for (int const b : list) {
        bool const there = b >= 0 && b < static_cast<int>(t_.buffers.size());
        check(there, "id");
        if (!there) continue;
        int const home = t_.buffers[static_cast<std::size_t>(b)].program;
        check(home == -1 || home == program, "foreign_buffer");
      }
    }
    for (int const a : s.after) {
      check(a >= 0 && a < static_cast<int>(p.steps.size()), "id");
      check(a < step || a >= static_cast<int>(p.steps.size()), "after");
    }
    return sound;
  }

  TensorSpec const& spec(int buffer) const { return t_.buffers[static_cast<std::size_t>(buffer)].spec; }

  void shape_of_step(Program const& p, int step) {
    auto const& s = p.steps[static_cast<std::size_t>(step)];
    auto const require = [&](bool good, char const* rule) {
      if (!good) flag(rule, p.name, step);
    };
    int const served = p.streams[static_cast<std::size_t>(s.stream)].group;
    if (starts_communication(s.kind)) {
      require(served >= 0 && served == s.group, "stream");
    } else {
      require(s.kind == StepKind::kernel ? s.stream == 0 : served == -1, "stream");
      require(s.group == -1, "operand");
    }
    bool const addressed = s.kind == StepKind::send || s.kind == StepKind::recv || s.kind == StepKind::broadcast;
    require(addressed ? s.peer >= 0 : s.peer == -1, "operand");
    require((s.kind == StepKind::kernel) == !s.op.empty(), "operand");
    require(std::set<int>(s.out.begin(), s.out.end()).size() == s.out.size(), "operand");
    std::size_t const in = s.in.size(), out = s.out.size();
    bool const in_place = s.in == s.out;
    bool same_specs = in == out, apart = true;
    for (std::size_t i = 0; i < std::min(in, out); ++i) same_specs = same_specs && spec(s.in[i]) == spec(s.out[i]);
    for (int const i : s.in) apart = apart && std::ranges::count(s.out, i) == 0;
    switch (s.kind) {
      case StepKind::kernel:
        if (auto const* a = s.attributes.find("accumulate")) {
          auto const* bits = std::get_if<std::int64_t>(a);
          require(bits && *bits >= 0 && (*bits >> std::min<std::size_t>(out, 62)) == 0, "operand");
        }
        return;
      case StepKind::send:
        return require(in == 1 && out == 0, "operand");
      case StepKind::recv:
        return require(in == 0 && out == 1, "operand");
      case StepKind::barrier:
        return require(in == 0 && out == 0, "operand");
      case StepKind::copy:
        return require(in > 0 && same_specs && apart, "operand");
      case StepKind::all_to_all:
        require(in > 0 && same_specs && apart, "operand");
        break;
      case StepKind::broadcast:
        require(out > 0 && (in == 0 || in_place), "operand");
        break;
      case StepKind::all_reduce:
        require(in > 0 && in_place, "operand");
        break;
      case StepKind::reduce_scatter:
      case StepKind::all_gather: {
        require(in > 0 && in == out, "operand");
        for (std::size_t i = 0; i < std::min(in, out); ++i) {
          require(s.in[i] == s.out[i] || std::ranges::count(s.out, s.in[i]) == 0, "operand");
        }
        require(number(s, "dim") >= 0 && (number(s, "flat") == 0 || number(s, "flat") == 1), "rows");
        require(number(s, "dim") == 0 || number(s, "flat") == 0, "rows");
        for (int const whole : s.kind == StepKind::all_gather ? s.out : s.in)
          require(number(s, "dim") < spec(whole).shape.ndim(), "rows");
        for (std::size_t i = 0; i < std::min(in, out); ++i)
          require(s.in[i] != s.out[i] || number(s, "dim") == 0, "rows");
        if (auto const* a = s.attributes.find("rows")) {
          auto const* list = std::get_if<std::string>(a);
          require(list && rows_are_lists(*list, in), "rows");
        }
      }
    }
    for (auto const& list : {s.in, s.out}) {
      for (int const b : list) require(s.out.empty() || spec(b).dtype == spec(s.out[0]).dtype, "operand");
    }
    auto const* reduce = s.attributes.find("reduce");
    if (reduce && (s.kind == StepKind::all_reduce || s.kind == StepKind::reduce_scatter)) {
      auto const* word = std::get_if<std::string>(reduce);
      require(word && (*word == "sum" || *word == "max"), "operand");
    }
  }

  /// An attribute that should be a whole number from 0 on; -1 when it is anything else.
  static std::int64_t number(Step const& s, char const* name) {
    if (!s.attributes.has(name)) return 0;
    auto const* n = std::get_if<std::int64_t>(s.attributes.find(name));
    return n ? std::max<std::int64_t>(*n, -1) : -1;
  }

  /// A tensor as a list of rows: how many, and the shape of a part with `own` of them.
  static std::int64_t rows_in(Shape const& whole, Step const& s) {
    if (number(s, "flat") == 0) return whole[static_cast<int>(number(s, "dim"))];
    if (whole.ndim() == 1) return whole[0];
    return whole.count() == 0 ? 0 : whole.count() / whole[whole.ndim() - 1];
  }

  static std::vector<std::vector<std::int64_t>> row_lists(std::string const& list) {
    std::vector<std::vector<std::int64_t>> out;
    std::istringstream parts(list);
    for (std::string part; std::getline(parts, part, ';');) {
      std::istringstream words(part);
      auto& rows = out.emplace_back();
      for (std::string word; std::getline(words, word, ',');) rows.push_back(std::stoll(word));
    }
    return out;
  }

  static bool rows_are_lists(std::string const& list, std::size_t operands) {
    if (list.empty() || list.find_first_not_of("0123456789,;") != list.npos || list.back() == ',' ||
        list.back() == ';' || list.front() == ',' || list.front() == ';') {
      return false;
    }
    for (char const* twice : {",,", ",;", ";,", ";;"}) {
      if (list.find(twice) != list.npos) return false;
    }
    auto const rows = row_lists(list);
    return rows.size() == operands && std::ranges::all_of(rows, [](auto const& r) {
             return r.size() >= 2 && r[0] == 0 && std::ranges::is_sorted(r);
           });
  }

  void bound_step(Program const& p, int step, std::vector<int> const& members) {
    auto const& s = p.steps[static_cast<std::size_t>(step)];
    auto const n = static_cast<std::int64_t>(members.size());
    auto const me = std::ranges::find(members, b_.rank) - members.begin();
    if (s.kind == StepKind::send || s.kind == StepKind::recv) {
      if (s.peer >= n || s.peer == me) flag("peer", p.name, step);
    } else if (s.kind == StepKind::broadcast) {
      if (s.peer >= n || (s.peer == me && s.in.empty())) flag("peer", p.name, step);
    } else if (s.kind == StepKind::all_to_all) {
      for (int const b : s.in) {
        if (spec(b).shape.ndim() == 0 || spec(b).shape[0] % n != 0) flag("rows", p.name, step);
      }
    } else if (s.kind == StepKind::reduce_scatter || s.kind == StepKind::all_gather) {
      bool const gathers = s.kind == StepKind::all_gather;
      auto const lists =
          s.attributes.has("rows") ? row_lists(s.attributes.string("rows")) : std::vector<std::vector<std::int64_t>>();
      for (std::size_t i = 0; i < s.in.size(); ++i) {
        auto const &whole = spec(gathers ? s.out[i] : s.in[i]).shape, &part = spec(gathers ? s.in[i] : s.out[i]).shape;
        auto const rows = rows_in(whole, s);
        std::vector<std::int64_t> bounds;
        if (lists.empty()) {
          for (std::int64_t k = 0; k <= n; ++k) bounds.push_back(rows / n * k);
        } else {
          bounds = lists[i];
        }
        if (static_cast<std::int64_t>(bounds.size()) != n + 1 || bounds.back() != rows) {
          flag("rows", p.name, step);
        } else if (s.in[i] != s.out[i]) {
          auto const own = bounds[static_cast<std::size_t>(me) + 1] - bounds[static_cast<std::size_t>(me)];
          bool fits = true;
          if (number(s, "flat") == 1) {  // may be longer
            std::vector<std::int64_t> flat(part.extents().begin(), part.extents().end());
            fits = flat.size() == (whole.ndim() == 1 ? 1u : 2u) && flat[0] >= own &&
                   (flat.size() == 1 || flat[1] == whole[whole.ndim() - 1]);
          } else {
            fits = part.ndim() == whole.ndim();
            for (int d = 0; fits && d < whole.ndim(); ++d) fits = part[d] == (d == number(s, "dim") ? own : whole[d]);
          }
          if (!fits) flag("rows", p.name, step);
        }
      }
    }
  }

  /// Marks every cell that the boxes name.
  static bool slabs_fit(Buffer const& b, std::vector<Hyperslab> const& slabs) {
    bool const named =
        b.role == Role::parameter || b.role == Role::gradient || b.role == Role::moment1 || b.role == Role::moment2;
    if (!named) return slabs.empty();
    auto const &local = b.spec.shape, &global = b.global_shape;
    if (slabs.empty()) return local == global;
    std::set<std::vector<std::int64_t>> cells;
    std::int64_t named_cells = 0;
    for (auto const& s : slabs) {
      if (global.ndim() == 0 || s.offset.ndim() != global.ndim() || s.extent.ndim() != global.ndim()) return false;
      std::vector<std::int64_t> at(s.offset.extents().begin(), s.offset.extents().end());
      for (int d = 0; d < global.ndim(); ++d) {
        if (s.offset[d] < 0 || s.extent[d] < 0 || s.offset[d] + s.extent[d] > global[d]) return false;
      }
      for (std::int64_t k = 0; k < s.extent.count(); ++k, ++named_cells) {
        auto rest = k;
        for (int d = global.ndim() - 1; d >= 0; --d) {
          at[static_cast<std::size_t>(d)] = s.offset[d] + rest % s.extent[d];
          rest /= s.extent[d];
        }
        cells.insert(at);
      }
    }
    // Where a box ends with the last index of a dim, having begun inside of it, room of the buffer in this dim is
    // padding.
    bool const ends = std::any_of(slabs.begin(), slabs.end(), [&](Hyperslab const& s) {
      for (int d = 0; d < global.ndim(); ++d) {
        auto const last = s.offset[d] + s.extent[d] - 1;
        bool const room = global.ndim() != local.ndim() || local[d] - s.extent[d] > 0;
        if (room && s.extent.count() > 0 && 0 < s.offset[d] && last == global[d] - 1) return true;
      }
      return false;
    });
    bool const full = named_cells == local.count() || cells.empty() || ends;
    return full && named_cells <= local.count() && static_cast<std::int64_t>(cells.size()) == named_cells;
  }

  Template const& t_;
  Binding const& b_;
  Verdict& verdict_;
};

}  // namespace

bool Interpreter::judge_template(ProgramSet const& set, Verdict& verdict) {
  auto const [at, is_new] = known_.try_emplace(set.shape.get());
  auto& known = at->second;
  if (is_new) {
    ProgramSet const example{set.shape, {}};  // of rank 0
    known.shape = set.shape;
    known.sound = Judge(example, known.verdict).template_alone();
  }
  for (auto finding : known.verdict.findings) {
    finding.rank = set.binding.rank;
    verdict.findings.insert(std::move(finding));
  }
  return known.sound;
}

Verdict Interpreter::judge(ProgramSet const& set) {
  Verdict verdict;
  if (judge_template(set, verdict)) Judge(set, verdict).binding();
  return verdict;
}

Verdict Interpreter::judge(std::span<ProgramSet const> ranks) {
  Verdict verdict;
  std::vector<ProgramSet const*> by_rank(ranks.size(), nullptr);
  for (auto const& set : ranks) {
    auto const& b = set.binding;
    if (b.world != static_cast<int>(ranks.size()) || b.rank < 0 || b.rank >= b.world ||
        by_rank[static_cast<std::size_t>(b.rank)]) {
      verdict.findings.insert({"ranks", b.rank, "", -1});
      return verdict;
    }
    by_rank[static_cast<std::size_t>(b.rank)] = &set;
  }
  bool sound = true;
  for (auto const* set : by_rank) sound = judge_template(*set, verdict) && sound;
  if (!sound) return verdict;
  for (auto const* set : by_rank) sound = Judge(*set, verdict).binding() && sound;
  if (sound) judge_world(by_rank, verdict);
  return verdict;
}

Verdict judge(ProgramSet const& set) { return Interpreter().judge(set); }
Verdict judge(std::span<ProgramSet const> ranks) { return Interpreter().judge(ranks); }

}  // namespace lamina::test
