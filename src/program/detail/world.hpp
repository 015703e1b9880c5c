#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/program/program.hpp"
#include "program/detail/report.hpp"

namespace lamina::program::detail {

/// One communicator: a group as all its members see it.
struct Instance {
  std::string_view name;
  Transport transport = Transport::mpi;
  std::vector<int> ranks;  ///< members in order
  std::vector<int> local;  ///< per member: index of the group in its template
};

/// The communication of one program of one template, without the kernels between: per communication stream ("lane")
/// the steps in order, and what each must wait for.
struct Skeleton {
  struct Wait {
    int lane, count;  ///< the first `count` steps of that lane
  };
  struct Node {
    int step = -1;
    bool collective = false, sends = false;
    int peer = -1;           ///< of a message: index into the members
    std::size_t waits[2]{};  ///< range in `waits`: beyond what the step before it in its lane waited for
  };
  struct Lane {
    int group;
    std::vector<Node> nodes;
    std::vector<std::pair<int, bool>> partners;  ///< of its messages: peer, and whether it sends; sorted
  };
  Template const* shape = nullptr;
  Program const* program = nullptr;  ///< null: the template has no such program
  std::vector<Lane> lanes;
  std::vector<Wait> waits;
  std::vector<int> lane_of_group;  ///< -1 for groups without steps
  std::vector<int> collectives;    ///< group of each collective, in issue order

  std::span<Wait const> waits_of(Node const& n) const {
    return std::span(waits).subspan(n.waits[0], n.waits[1] - n.waits[0]);
  }
  Step const& step(Node const& n) const { return program->steps[static_cast<std::size_t>(n.step)]; }
  Lane const* lane(int group) const {
    auto const l = lane_of_group[static_cast<std::size_t>(group)];
    return l < 0 ? nullptr : &lanes[static_cast<std::size_t>(l)];
  }
};

Skeleton make_skeleton(Template const& shape, Program const* program);

/// Two communication steps of two members are the two ends of one: a collective with a collective, a send with a recv.
/// They agree in kind, operands (dtype, count, name), `reduce`, root, `rows`, `dim` and `flat`.
bool fit_together(Template const& a, Step const& step_of_a, Template const& b, Step const& step_of_b);
/// What must agree, in words: "all_reduce sum f32 x 100 of 'w'".
std::string describe_match(Template const& shape, Step const& s);

/// All ranks with their distinct templates and communicators.
struct World {
  std::vector<ProgramSet const*> sets;                  ///< by rank
  std::vector<Template const*> shapes;                  ///< distinct
  std::vector<int> shape_of;                            ///< per rank
  std::vector<Instance> instances;                      ///< valid after check_groups
  std::vector<std::vector<int>> instance_of, index_of;  ///< per rank and group: its communicator, its place in there

  int size() const { return static_cast<int>(sets.size()); }
  Template const& shape(int rank) const {
    return *shapes[static_cast<std::size_t>(shape_of[static_cast<std::size_t>(rank)])];
  }
  Binding const& binding(int rank) const { return sets[static_cast<std::size_t>(rank)]->binding; }
};

/// Distinct templates: by address first, then by content.
void find_shapes(World& world);
/// Fills the communicators; every member lists the same members in the same order.
bool check_groups(World& world, std::vector<Problem>& problems);

/// One program of all ranks: `skeletons` has one per distinct template.
struct Play {
  World const& world;
  std::string_view name;
  std::vector<Skeleton> skeletons;

  Skeleton const& of(int rank) const {
    return skeletons[static_cast<std::size_t>(world.shape_of[static_cast<std::size_t>(rank)])];
  }
};

/// Collectives of each communicator and messages of each ordered pair agree; nccl collectives are issued in one order.
bool check_matching(Play const& play, std::vector<Problem>& problems);
/// Everybody gets to the end under rendezvous rules. Needs matching communication.
void check_progress(Play const& play, std::vector<Problem>& problems);

}  // namespace lamina::program::detail
