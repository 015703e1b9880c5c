#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lamina/plan/plan.hpp"
#include "plan/detail/fuse.hpp"
#include "plan/detail/layout.hpp"
#include "plan/detail/mesh.hpp"
#include "plan/detail/policy.hpp"
#include "plan/detail/schedule.hpp"

namespace lamina::plan {

/// One graph of the run and the program it becomes.
struct Part {
  std::string program;  ///< forward_backward, eval, prefill, decode
  graph::Graph graph;   ///< fused
  Layouts layouts;
  std::vector<FusedPattern> fused;
  std::vector<std::string> layers;  ///< paths in the order of the forward, before fusion moved work between layers
  std::vector<int> stages;          ///< node -> virtual stage
  std::map<std::int64_t, Schedule> schedules;  ///< by number of micro-batches

  bool trains() const { return program == "forward_backward"; }
};

/// How a tensor of the optimizer (parameter, gradient, moment) is held by the ranks of a replica group.
struct Storage {
  TensorSpec spec;    ///< of the buffer
  bool part = false;  ///< only this replica's flat rows; see `flat_rows`
};

/// What decides a template: ranks that agree in it share one.
struct Kind {
  int stage = 0;    ///< pp coordinate
  int replica = 0;  ///< a dp coordinate that stands for all of the kind
  std::int64_t micro_batches = 1;
};

struct Plan {
  config::RunConfig config;
  Machine machine;
  Purpose purpose = Purpose::train;
  Mesh mesh;
  Policy policy;
  int zero = 0;                             ///< ZeRO stage that is in force: 0 with one replica and for generation
  std::vector<std::int64_t> micro_batches;  ///< per replica
  std::map<std::string, int> stage_of;      ///< layer path -> virtual stage
  std::vector<int> at;                      ///< virtual stage -> pp coordinate
  std::map<std::string, std::vector<int>> holders;  ///< parameter -> pp coordinates that use it, ascending
  std::vector<Part> parts;
  std::set<std::string> masters;   ///< parameters whose f32 master some node reads, or a copy packed of all of it
  std::vector<std::string> notes;  ///< what the user should know: see `to_text`

  std::vector<Kind> kinds;
  std::vector<int> kind_of;                                      ///< (pp coordinate * replicas + replica) -> kind
  std::vector<std::shared_ptr<program::Template const>> shapes;  ///< per kind
  /// A send has left before this many actions after its own, so that its buffer is free; 0: at the end of the program.
  std::size_t send_lag = 2;

  bool canonical() const { return config.run.determinism == "canonical"; }
  Part const* find_part(std::string_view program) const;
  TensorSpec local_spec(Part const& part, int value, int form = -1) const;
  /// Of a parameter, gradient or moment, in a template.
  Storage storage(Part const& part, graph::Value const& value, int replica) const;
  int coordinate(int rank, std::string_view axis) const;  ///< 0 for an axis that the mesh does not have
  int shape_of(int rank) const;                           ///< index into `shapes`
  program::Binding binding(int rank) const;
  std::vector<int> members(program::Group const& group, int rank) const;  ///< of the group of this name of that rank
  /// The name of the working copy or master from which products read a weight makes no difference to who holds it.
  std::vector<int> const& holders_of(std::string const& parameter) const;
};

/// Like `make`, but neither compared with the memory nor verified, and without notes: for settings that are tried out.
std::shared_ptr<Plan> draft(Graphs const& graphs, config::RunConfig const& config, std::int64_t world,
                            Machine const& machine, Purpose purpose);

/// What a group keeps outside the arenas for what its exchanges receive and pack. "world": all ranks, who agree between
/// the programs.
struct GroupScratch {
  std::string group;
  int ranks = 0;
  std::int64_t bytes = 0;
};
std::vector<GroupScratch> communication_scratch(Plan const& plan, std::size_t kind);
std::int64_t communication_scratch_bytes(Plan const& plan, std::size_t kind);
/// What a rank of this kind needs: all arenas and the communication's.
std::int64_t kind_bytes(Plan const& plan, std::size_t kind);

/// A tensor as rows of its last dim; vectors have rows of one element.
struct FlatRows {
  std::int64_t rows = 0, width = 1;
};
FlatRows flat_rows(Shape const& shape);
/// Bounds of `parts` ranges of rows, the first ones longer by one: parts + 1 numbers.
std::vector<std::int64_t> row_bounds(std::int64_t rows, int parts);
/// "0,4,8".
std::string rows_text(std::vector<std::int64_t> const& bounds);

/// The boxes of the global tensor that a rank's buffer of this role holds; empty: all of it.
std::vector<program::Hyperslab> slabs_of(Plan const& plan, Part const& part, graph::Value const& value, int rank);

/// Fills `kinds` and `kind_of`.
void make_kinds(Plan& plan);

/// One kind's programs with all offsets.
program::Template lower_kind(Plan const& plan, Kind const& kind);
/// Fills `shapes`.
void lower_kinds(Plan& plan);

}  // namespace lamina::plan
