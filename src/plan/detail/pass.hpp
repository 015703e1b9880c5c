#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "plan/detail/lowering.hpp"

namespace lamina::plan {

/// Which values cross between pp coordinates, and in which order a sender's go: the receiver posts them in that order.
class Crossings {
 public:
  Crossings(Plan const& plan, Part const& part);

  struct Target {
    int value, form, to;
    bool backward;  ///< wanted by a backward there
  };
  /// What leaves a node, in the order of sending.
  std::vector<Target> const& leaving(int node) const { return leaving_[static_cast<std::size_t>(node)]; }
  /// Operand `i` of a node as it arrives from elsewhere; value -1 when it is made here.
  std::pair<int, int> arriving(int node, std::size_t i) const { return arriving_[static_cast<std::size_t>(node)][i]; }
  int producer_at(int value) const;  ///< pp coordinate
  bool any(int from, int to) const { return pairs_.contains({from, to}); }

 private:
  Plan const& plan_;
  Part const& part_;
  std::vector<std::vector<Target>> leaving_;
  std::vector<std::vector<std::pair<int, int>>> arriving_;
  std::set<std::pair<int, int>> pairs_;
};

/// The nodes that an action runs, in graph order.
std::vector<int> const& nodes_of(Action const& action, std::array<std::vector<std::vector<int>>, 4> const& table);
std::array<std::vector<std::vector<int>>, 4> make_node_table(Part const& part, std::size_t stages);

/// Gradients that are reduced together as soon as the last of them is final.
struct Bucket {
  std::vector<int> gradients;  ///< value ids of the part
  std::int64_t bytes = 0;
  std::vector<std::size_t> axes;  ///< over which they are partial
  bool tied = false;
  int action = -1, place = -1, node = -1;  ///< after which all of them are final; place: of the node in its action
};

/// Gradients of embeddings are the last of a backward and as large as their tables, so that reducing them then would
/// hide behind nothing; but only the rows of a micro-batch's tokens are not zero. Where a table is more than a bucket
/// and these rows less than half of it, the last micro-batch sums over the operands of all replicas, and what is
/// reduced, earlier, is what was added before it: a tied head's part, that of other micro-batches. (Gathering in place
/// of reducing: sparse gradients in Horovod, Sergeev and Del Balso, 2018.)
struct LateSums {
  std::set<std::pair<std::size_t, int>> where;  ///< action, node
  std::vector<int> alone;                       ///< gradients that nothing else adds to
  std::vector<int> before;          ///< gradients of which the rest is reduced before the late sum: each by itself
  std::int64_t gathered_bytes = 0;  ///< operands of all replicas together
};
LateSums find_late_sums(Plan const& plan, Part const& part, std::vector<Action> const& actions,
                        std::array<std::vector<std::vector<int>>, 4> const& table);

/// The table of an embedding is the first that a forward reads and as large as many blocks, so that gathering what an
/// update has left of it (ZeRO 1 and 2) hides behind nothing; but the first micro-batch reads only its tokens' rows.
/// Where a table is more than a bucket and these rows less than half of it, every replica looks the words of all
/// replicas up in its own rows, as if the vocabulary were cut over them, and the table is gathered later, for whoever
/// reads it next. (The lookup of a cut vocabulary: Shoeybi et al., "Megatron-LM", 2019.)
struct FirstLookups {
  std::set<int> nodes;           ///< of the first action
  std::set<std::string> tables;  ///< that they read
  std::set<std::string> unread;  ///< of these: nothing else reads them before the next update
  std::int64_t moved_bytes = 0;  ///< words of all replicas, and what is found
};
FirstLookups find_first_lookups(Plan const& plan, Part const& part, std::vector<Action> const& actions,
                                std::array<std::vector<std::vector<int>>, 4> const& table);

/// A tensor with the samples of all replicas.
TensorSpec of_all_replicas(Plan const& plan, TensorSpec spec);

/// Writes the steps of a pass over micro-batches: nodes, conversions, messages, gathered parameters, reductions.
class Pass {
 public:
  Pass(Plan const& plan, Kind const& kind, program::Template& shape, Buffers& buffers, Part const& part,
       Schedule const& schedule);
  void write();
  /// Buckets in the order of their reduction; for the text of the plan.
  std::vector<Bucket> const& buckets() const { return buckets_; }

 private:
  using Index = std::size_t;
  std::vector<Action> const& actions() const { return schedule_.actions[static_cast<Index>(kind_.stage)]; }
  std::vector<int> const& nodes(Action const& a) const { return nodes_of(a, table_); }

  void plan_messages();
  void post_receives(std::size_t action);
  void wait_for_sends(std::size_t action);
  void send(graph::Node const& node, std::size_t action);
  std::size_t own_backward(std::size_t action) const;

  void write_node(graph::Node const& node, std::size_t action);
  /// What the steps of a node have in common over all micro-batches.
  struct Prototype {
    program::Step step;
    std::vector<TensorSpec> specs;
    bool draws = false;  // random numbers
  };
  Prototype make_prototype(graph::Node const& node) const;
  /// False when it has been noted before.
  bool note_made(int form, std::int64_t m);
  int operand(graph::Node const& node, std::size_t i, std::size_t action);
  void make_form(int value, int form, std::int64_t m, std::string const& layer);
  int buffer(int value, int form, std::int64_t m) { return buffers_.of(part_, writer_.index(), value, form, m); }

  void fetch_parameters();
  void pack_fetched(graph::Node const& node);
  void plan_gathers();
  void gather(std::size_t run);

  struct PendingAdd {
    int part, addend;
  };
  /// An operand becomes that of all replicas.
  void gather_operand(graph::Node const& node, std::size_t i, std::vector<int>& in, std::vector<TensorSpec>& specs);
  void look_up(graph::Node const& node, program::Step step, std::vector<TensorSpec> specs, std::vector<int> in,
               std::vector<int> const& out);
  struct Final {
    int action, place, node, output, state;  // place: of the node in its action
  };
  std::map<std::pair<int, int>, Final> find_finals(std::vector<Action> const& actions) const;
  void plan_buckets();
  int gradient_buffer(int state, std::size_t action);
  void reduce(Bucket const& bucket);
  int reduce_over(std::string const& group, program::Step step);
  void reduce_over_replicas(Bucket const& bucket, std::vector<int> const& whole);
  void settle(int reduction, std::vector<PendingAdd> const& adds);
  void finish_gradients();
  void count_norm(std::vector<int> const& gradients);
  void count_norm_of_reduced();
  void norm();

  Plan const& plan_;
  Kind const& kind_;
  program::Template& shape_;
  Buffers& buffers_;
  Part const& part_;
  Schedule const& schedule_;
  ProgramWriter writer_;
  Crossings crossings_;
  std::array<std::vector<std::vector<int>>, 4> table_;
  std::vector<std::optional<Prototype>> prototypes_;             // by node
  std::vector<std::vector<int>> completed_;                      // node -> forms made of its sums
  std::vector<std::vector<std::optional<WorkingCopy>>> copies_;  // node, operand
  std::int64_t micro_batch_ = 0;                                 // of the action that is being written

  struct Incoming {
    std::vector<Message> order;       // as the sender sends
    std::size_t posted = 0;           // receives listed so far
    std::vector<std::size_t> needed;  // per action: how many must have been posted
  };
  std::map<int, Incoming> incoming_;    // by sender's coordinate
  std::vector<std::vector<int>> sent_;  // per action: send steps
  std::vector<bool> made_;              // form, micro-batch: it exists

  std::set<std::string> unpacked_;  // copies of parameters that were fetched and not packed yet

  struct Run {  // consecutive nodes of one block in one action
    std::size_t action = 0;
    int first_node = -1;
    std::vector<std::string> names;  // persistent buffers that are gathered for it
  };
  std::vector<Run> runs_;
  std::size_t gathered_ = 0;  // runs gathered so far
  struct Gathered {           // a persistent buffer that is gathered
    int part;
    Shape whole;
    std::string rows;
  };
  Gathered const& gathered_of(std::string const& name);
  std::map<std::string, Gathered> known_;          // by name
  std::vector<std::map<std::string, int>> whole_;  // per action: name -> buffer

  LateSums late_;
  FirstLookups lookups_;
  std::size_t looked_up_ = 0;  // nodes of them
  std::vector<Bucket> buckets_;
  std::size_t next_bucket_ = 0;
  std::map<std::pair<std::size_t, int>, int> full_gradients_;  // action, state -> buffer (ZeRO 2, 3)
  std::set<int> started_;                                      // gradients whose part has been written
  std::vector<PendingAdd> adds_;                               // when the reduction in flight is over
  int reduction_ = -1;                                         // step of the reduction in flight
  std::set<int> counted_;                                      // gradients that are in the norm
  bool has_norm_ = false;
};

}  // namespace lamina::plan
