#include "program/detail/verify.hpp"

#include <algorithm>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "program/detail/world.hpp"

namespace lamina::program {
namespace {

using detail::Reporter;
using detail::World;

/// Sorts the sets by rank; false when they are not exactly the ranks of one world.
bool collect(std::span<ProgramSet const> ranks, World& world, std::vector<Problem>& problems) {
  world.sets.assign(ranks.size(), nullptr);
  for (auto const& set : ranks) {
    auto const& b = set.binding;
    bool const fits = b.world == static_cast<int>(ranks.size()) && b.rank >= 0 && b.rank < b.world &&
                      world.sets[static_cast<std::size_t>(b.rank)] == nullptr;
    if (!fits) {
      Reporter(problems, b.rank, text("rank ", b.rank))
          .add("ranks", "the set says rank ", b.rank, " of ", b.world, "; there are ", ranks.size(),
               " sets, and each rank must have one");
      return false;
    }
    world.sets[static_cast<std::size_t>(b.rank)] = &set;
  }
  return true;
}

bool check_templates(World const& world, std::vector<Problem>& problems) {
  bool sound = true;
  for (std::size_t s = 0; s < world.shapes.size(); ++s) {
    auto const first = std::ranges::find(world.shape_of, static_cast<int>(s)) - world.shape_of.begin();
    auto const others = std::ranges::count(world.shape_of, static_cast<int>(s)) - 1;
    auto subject = text("rank ", first);
    if (others > 0) subject += text(" (and ", others, others == 1 ? " rank" : " ranks", " with the same template)");
    Reporter report(problems, static_cast<int>(first), std::move(subject));
    sound = detail::check_template(*world.shapes[s], report) && sound;
  }
  return sound;
}

bool check_bindings(World const& world, std::vector<Problem>& problems) {
  std::vector<detail::BindingRules> rules;
  for (auto const* shape : world.shapes) rules.emplace_back(*shape);
  bool sound = true;
  for (int r = 0; r < world.size(); ++r) {
    Reporter report(problems, r, text("rank ", r));
    auto& of_shape = rules[static_cast<std::size_t>(world.shape_of[static_cast<std::size_t>(r)])];
    sound = of_shape.check(world.binding(r), report) && sound;
  }
  return sound;
}

}  // namespace

std::vector<Problem> verify(ProgramSet const& set) {
  std::vector<Problem> problems;
  Reporter report(problems, set.binding.rank, text("rank ", set.binding.rank));
  if (detail::check_template(*set.shape, report)) detail::BindingRules(*set.shape).check(set.binding, report);
  return problems;
}

std::vector<Problem> verify(std::span<ProgramSet const> ranks) {
  std::vector<Problem> problems;
  World world;
  if (!collect(ranks, world, problems)) return problems;
  detail::find_shapes(world);
  bool const templates = check_templates(world, problems);
  if (!templates || !check_bindings(world, problems) || !detail::check_groups(world, problems)) return problems;
  std::vector<std::string_view> names;
  for (auto const* shape : world.shapes) {
    for (auto const& p : shape->programs) {
      if (std::ranges::find(names, p.name) == names.end()) names.push_back(p.name);
    }
  }
  for (auto const name : names) {
    detail::Play play{world, name, {}};
    for (auto const* shape : world.shapes) {
      play.skeletons.push_back(detail::make_skeleton(*shape, shape->find_program(name)));
    }
    if (detail::check_matching(play, problems)) detail::check_progress(play, problems);
  }
  return problems;
}

}  // namespace lamina::program
