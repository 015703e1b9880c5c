#include "support/program_mutations.hpp"

#include "lamina/base/text.hpp"
#include "support/program_mutation_case.hpp"

namespace lamina::test {

using namespace program;

namespace {

std::string apply(World& world, Random& random, std::span<Mutation const> list, bool may_share) {
  auto& set = world[static_cast<std::size_t>(random.below(static_cast<int>(world.size())))];
  auto const before = set.shape;
  Case c{*set.shape, set.binding, random};
  auto const done = list[static_cast<std::size_t>(random.below(static_cast<int>(list.size())))](c);
  if (done.empty()) return "";
  set.shape = std::make_shared<Template const>(std::move(c.t));
  set.binding = std::move(c.b);
  if (!may_share || random.one_in(2)) return text("rank ", set.binding.rank, ": ", done);
  for (auto& other : world) {  // all ranks that shared the template
    if (other.shape == before) other.shape = set.shape;
  }
  return text("rank ", set.binding.rank, " and those of its template: ", done);
}

}  // namespace

std::string mutate(World& world, Random& random) {
  return apply(world, random, random.below(3) < 2 ? step_mutations() : table_mutations(), true);
}

std::string mutate_order(World& world, Random& random) { return apply(world, random, order_mutations(), false); }

std::string mutate_plan(World& world, Random& random) { return apply(world, random, plan_mutations(), true); }

}  // namespace lamina::test
