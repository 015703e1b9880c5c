#pragma once

#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "plan/detail/copies.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// The buffers of one template. Persistent ones are found by (name, role), transient ones by the value they hold, its
/// form, and the micro-batch they belong to.
class Buffers {
 public:
  Buffers(Plan const& plan, Kind const& kind, program::Template& shape) : plan_(plan), kind_(kind), shape_(shape) {}

  /// All persistent buffers of this kind of rank, in the order of the arena: inputs, outputs, parameters, gradients,
  /// moments, working copies, caches.
  void add_persistent();
  /// Their offsets; returns the end.
  std::int64_t place_persistent();

  /// Buffer that holds a form of a value during micro-batch `m` of the program with this index; made on first use.
  int of(Part const& part, int program, int value, int form, std::int64_t m);
  /// A new transient buffer; its name must be its own.
  int transient(int program, std::string name, TensorSpec spec);
  int scratch(int program, std::size_t step, std::int64_t bytes);
  int find(std::string const& name, Role role) const;
  program::Buffer const& operator[](int id) const { return shape_.buffers[static_cast<std::size_t>(id)]; }
  std::vector<WorkingCopy> const& copies() const { return copies_; }
  /// The node runs on this kind of rank.
  bool is_here(Part const& part, graph::Node const& node) const;

 private:
  int add(std::string name, Role role, TensorSpec spec, Shape const& global, int program = -1);
  int add_once(std::string name, Role role, TensorSpec spec, Shape const& global);
  void add_values(Role role);
  void add_copies();
  void mark_used();
  std::string name_of(Part const& part, graph::Value const& value, std::int64_t m) const;

  Plan const& plan_;
  Kind const& kind_;
  program::Template& shape_;
  std::vector<WorkingCopy> copies_;
  std::vector<std::vector<bool>> used_;  // part, value: by a node that is here
  std::map<Role, std::map<std::string, int>> persistent_;
  std::map<std::size_t, std::vector<int>> values_;  // per program: micro-batch, then value or form; -1: not yet
};

/// Appends the steps of one program and the edges between its streams: a step waits for the other streams' steps whose
/// results it reads or whose operands it overwrites, unless it does so already.
class ProgramWriter {
 public:
  ProgramWriter(Plan const& plan, program::Template& shape, Buffers& buffers, std::string name);

  /// A compute step. Scratch and the accumulate bits of the op are added to it.
  int kernel(graph::Op const& op, std::vector<TensorSpec> const& specs, std::vector<int> in, std::vector<int> out,
             program::Step step);
  int kernel(graph::Op const& op, std::vector<int> in, std::vector<int> out, std::string layer);
  /// A kernel without an op in the graph's catalogue.
  int kernel(std::string kind, std::vector<int> in, std::vector<int> out);
  int copy(int in, int out, std::string layer);
  /// A communication step on the group's own stream. `step` brings kind, operands, attributes, layer, peer; `after`
  /// what it waits for beside its operands.
  int communicate(std::string const& group, program::Step step);
  /// The next compute step waits for this one too.
  void wait_for(int step);

  program::Step& step(int id) { return steps()[static_cast<std::size_t>(id)]; }
  int last_compute() const { return last_compute_; }
  int index() const { return index_; }

 private:
  struct Use {
    int write = -1;          // last step that wrote the buffer
    std::vector<int> reads;  // since then
  };
  std::vector<program::Step>& steps() { return shape_.programs[static_cast<std::size_t>(index_)].steps; }
  int push(program::Step step);
  void depend(program::Step& step, int on);
  std::int64_t accumulate_mask(graph::Op const& op, std::vector<int> const& out);
  int stream_of(std::string const& group);

  Plan const& plan_;
  program::Template& shape_;
  Buffers& buffers_;
  int index_ = 0;
  int last_compute_ = -1;
  std::vector<bool> written_;            // accumulating buffers that have been written in this program
  std::vector<Use> uses_;                // by buffer
  std::vector<std::vector<int>> known_;  // stream -> last step of every other stream that it has waited for
  std::vector<int> pending_;             // what the next compute step waits for
};

/// A value that crosses from one pp coordinate to another.
struct Message {
  int value = -1, form = -1;
  std::int64_t micro_batch = 0;
  friend auto operator<=>(Message const&, Message const&) = default;
};

/// Names of groups.
std::string pair_group(int from, int to);                    ///< "pp.0>1"
std::string tie_group(std::vector<int> const& coordinates);  ///< "tie.0+3"

}  // namespace lamina::plan
