#include <algorithm>
#include <set>

#include "program/detail/verify.hpp"

namespace lamina::program::detail {
namespace {

/// Far above what is planned for; keeps a damaged text from costing gigabytes.
constexpr int max_world = 1 << 16;

/// Roles whose pieces of global tensors a checkpoint finds by their slabs.
bool has_slabs(Role r) {
  return r == Role::parameter || r == Role::gradient || r == Role::moment1 || r == Role::moment2;
}

bool is_empty(Shape const& s) { return std::ranges::count(s.extents(), 0) > 0; }

bool disjoint(Hyperslab const& a, Hyperslab const& b) {
  if (is_empty(a.extent) || is_empty(b.extent)) return true;
  for (int d = 0; d < a.offset.ndim(); ++d) {
    if (a.offset[d] + a.extent[d] <= b.offset[d] || b.offset[d] + b.extent[d] <= a.offset[d]) return true;
  }
  return false;
}

/// What is wrong with the boxes of a buffer, in words; "" when they are sound.
std::string slab_problem(Buffer const& b, std::vector<Hyperslab> const& slabs) {
  auto const &local = b.spec.shape, &global = b.global_shape;
  if (slabs.empty()) {
    return local == global ? "" : text("holds ", local, " of ", global, " and lists no boxes");
  }
  auto const room = *bytes_of(b.spec) / sizeof_dtype(b.spec.dtype);  // the tables are sound: it fits
  std::int64_t held = 0;
  bool at_end = false;
  for (auto const& s : slabs) {
    if (s.offset.ndim() != global.ndim() || s.extent.ndim() != global.ndim() || global.ndim() == 0) {
      return text("is ", local, " of ", global, " and has a box at ", s.offset, " of ", s.extent, " with other dims");
    }
    std::int64_t count = is_empty(s.extent) ? 0 : 1;
    for (int d = 0; d < global.ndim(); ++d) {
      if (s.offset[d] < 0 || s.extent[d] < 0 || s.extent[d] > global[d] || s.offset[d] > global[d] - s.extent[d]) {
        return text("has a box at ", s.offset, " of ", s.extent, " outside the global shape ", global);
      }
      bool const shorter = local.ndim() != global.ndim() || s.extent[d] < local[d];
      at_end |= !is_empty(s.extent) && shorter && s.offset[d] > 0 && s.offset[d] + s.extent[d] == global[d];
      if (count > 0) count = count > (room - held) / s.extent[d] ? room - held + 1 : count * s.extent[d];
    }
    held += count;
    if (held > room) return text("is ", local, ", and its boxes hold more elements than its ", room);
  }
  // Padding is what a cut leaves behind the end of the global tensor: a box before it reaches that end, in a dim in
  // which it is shorter than the buffer.
  if (held > 0 && held < room && !at_end) {
    return text("is ", local, ", and its boxes leave ", room - held, " of its elements unnamed");
  }
  for (std::size_t i = 0; i < slabs.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (!disjoint(slabs[i], slabs[j])) {
        return text("holds elements twice: boxes at ", slabs[j].offset, " and ", slabs[i].offset, " overlap");
      }
    }
  }
  return "";
}

/// The part of a whole that has `own` rows has the right shape; flat parts may be longer.
bool part_fits(Shape const& whole, Shape const& part, RowsOf of, std::int64_t own) {
  if (!of.flat) {
    auto expected = whole;
    expected[of.dim] = own;
    return part == expected;
  }
  if (whole.ndim() == 1) return part.ndim() == 1 && part[0] >= own;
  return part.ndim() == 2 && part[0] >= own && part[1] == whole.back();
}

}  // namespace

BindingRules::BindingRules(Template const& shape)
    : shape_(&shape), peers_(shape.groups.size()), rows_(shape.groups.size()) {
  for (std::size_t b = 0; b < shape.buffers.size(); ++b) {
    if (has_slabs(shape.buffers[b].role)) with_slabs_.push_back(static_cast<int>(b));
  }
  std::set<std::tuple<int, StepKind, int, bool>> known;
  for (int p = 0; p < static_cast<int>(shape.programs.size()); ++p) {
    auto const& steps = shape.programs[static_cast<std::size_t>(p)].steps;
    for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
      auto const& s = steps[static_cast<std::size_t>(i)];
      if (s.group < 0) continue;
      auto const g = static_cast<std::size_t>(s.group);
      if (s.peer >= 0 && known.insert({s.group, s.kind, s.peer, s.in.empty()}).second) peers_[g].push_back({p, i});
      if (s.kind == StepKind::reduce_scatter || s.kind == StepKind::all_gather || s.kind == StepKind::all_to_all) {
        if (s.kind == StepKind::all_to_all) {  // the attributes mean nothing to it
          rows_[g].push_back({p, i, {}, {}});
        } else {
          rows_[g].push_back({p, i, parse_rows(s).value_or(std::vector<Rows>{}), parse_rows_of(s).value_or(RowsOf{})});
        }
      }
    }
  }
}

bool BindingRules::check(Binding const& b, Reporter& report) {
  if (b.world < 1 || b.world > max_world || b.rank < 0 || b.rank >= b.world || b.axes.size() != b.coordinates.size() ||
      b.members.size() != shape_->groups.size() || b.slabs.size() > shape_->buffers.size()) {
    report.add("binding", "the binding is for rank ", b.rank, " of ", b.world, " with ", b.axes.size(), " axes, ",
               b.coordinates.size(), " coordinates, ", b.members.size(), " member lists for ", shape_->groups.size(),
               " groups and ", b.slabs.size(), " slab lists for ", shape_->buffers.size(), " buffers");
    return false;
  }
  bool const members = check_members(b, report);
  bool const slabs = check_slabs(b, report);
  return members && slabs;
}

bool BindingRules::check_members(Binding const& b, Reporter& report) {
  seen_.resize(std::max(seen_.size(), static_cast<std::size_t>(b.world)));
  bool sound = true;
  for (std::size_t g = 0; g < b.members.size(); ++g) {
    auto const& list = b.members[g];
    ++stamp_;
    int index = -1;
    bool valid = true;
    for (std::size_t i = 0; i < list.size(); ++i) {
      auto const r = list[i];
      valid = valid && r >= 0 && r < b.world && seen_[static_cast<std::size_t>(r)] != stamp_;
      if (!valid) break;
      seen_[static_cast<std::size_t>(r)] = stamp_;
      if (r == b.rank) index = static_cast<int>(i);
    }
    if (!valid || index < 0) {
      report.add("members", "group '", shape_->groups[g].name, "' lists the ranks ", describe_ranks(list),
                 "; each must be a rank of ", b.world, ", once, and rank ", b.rank, " among them");
      sound = false;
      continue;
    }
    auto const size = static_cast<int>(list.size());
    for (auto const& use : peers_[g]) {
      auto const& p = shape_->programs[static_cast<std::size_t>(use.program)];
      auto const& s = p.steps[static_cast<std::size_t>(use.step)];
      if (s.peer >= size) {
        report.add_step("peer", p, use.step, "names member ", s.peer, " of group '", shape_->groups[g].name,
                        "', which has ", size, " members");
      } else if (s.kind != StepKind::broadcast ? s.peer == index : s.peer == index && s.in.empty()) {
        report.add_step(
            "peer", p, use.step,
            s.kind == StepKind::broadcast ? "is the root and has nothing to send" : "names its own rank as the peer");
      } else {
        continue;
      }
      sound = false;
    }
    if (sound_rows_.contains({g, size, index})) continue;
    bool rows_sound = true;
    for (auto const& use : rows_[g]) rows_sound = check_rows(use, size, index, report) && rows_sound;
    if (rows_sound) sound_rows_.insert({g, size, index});
    sound = sound && rows_sound;
  }
  return sound;
}

bool BindingRules::check_rows(RowsUse const& use, int size, int index, Reporter& report) const {
  auto const& p = shape_->programs[static_cast<std::size_t>(use.program)];
  auto const& s = p.steps[static_cast<std::size_t>(use.step)];
  auto const wrong = [&](auto const&... message) {
    report.add_step("rows", p, use.step, message...);
    return false;
  };
  bool const gathers = s.kind == StepKind::all_gather;
  auto const& wholes = gathers ? s.out : s.in;
  auto const& parts = gathers ? s.in : s.out;
  for (std::size_t i = 0; i < wholes.size(); ++i) {
    auto const& whole = shape_->buffers[static_cast<std::size_t>(wholes[i])].spec;
    auto const& part = shape_->buffers[static_cast<std::size_t>(parts[i])].spec;
    auto const rows = whole.shape.ndim() > 0 ? row_count(whole.shape, use.of) : 0;
    std::int64_t own = rows / size;
    if (use.rows.empty()) {
      if (whole.shape.ndim() == 0 || rows % size != 0) {
        return wrong("splits ", describe_buffer(*shape_, wholes[i]), " ", whole, " over ", size,
                     " members in equal parts");
      }
    } else {
      auto const& bounds = use.rows[i];
      if (bounds.size() != static_cast<std::size_t>(size) + 1 || bounds.back() != rows) {
        return wrong("has ", bounds.size(), " row bounds up to ", bounds.back(), " for ", size, " members and the ",
                     rows, " rows of ", describe_buffer(*shape_, wholes[i]));
      }
      own = bounds[static_cast<std::size_t>(index) + 1] - bounds[static_cast<std::size_t>(index)];
    }
    if (wholes[i] == parts[i] || s.kind == StepKind::all_to_all) continue;
    if (!part_fits(whole.shape, part.shape, use.of, own)) {
      return wrong("pairs ", describe_buffer(*shape_, wholes[i]), " ", whole, " with ",
                   describe_buffer(*shape_, parts[i]), " ", part, "; member ", index, " of ", size, " has ", own,
                   " rows");
    }
  }
  return true;
}

bool BindingRules::check_slabs(Binding const& b, Reporter& report) const {
  static std::vector<Hyperslab> const all_of_it;
  bool sound = true;
  auto const wrong = [&](int buffer, std::string const& problem) {
    if (problem.empty()) return;
    report.add("slab", "buffer ", describe_buffer(*shape_, buffer), " ", problem);
    sound = false;
  };
  for (int const id : with_slabs_) {
    auto const i = static_cast<std::size_t>(id);
    wrong(id, slab_problem(shape_->buffers[i], i < b.slabs.size() ? b.slabs[i] : all_of_it));
  }
  for (std::size_t i = 0; i < b.slabs.size(); ++i) {
    auto const role = shape_->buffers[i].role;
    if (!b.slabs[i].empty() && !has_slabs(role)) {
      wrong(static_cast<int>(i), text("has role ", role, " and lists boxes"));
    }
  }
  return sound;
}

}  // namespace lamina::program::detail
