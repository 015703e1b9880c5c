#pragma once

#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "program/detail/order.hpp"
#include "program/detail/report.hpp"

/// The parts of the verifier, from the inside out. Each reports all problems it can see; a part that returns bool says
/// whether the parts after it may rely on what it checks.
namespace lamina::program::detail {

/// Bytes of a spec; nothing when they do not fit 62 bits.
std::optional<std::int64_t> bytes_of(TensorSpec const& spec);

/// Arenas, groups, buffers, and the stream tables of all programs.
bool check_tables(Template const& shape, Reporter& report);
/// Ids, streams, operands, attributes and `after` of every step. Needs sound tables.
bool check_steps(Template const& shape, Program const& program, int index, Reporter& report);
/// Reads after writes, ordered writes, and bytes shared inside one program. Needs sound steps.
void check_accesses(Template const& shape, Program const& program, int index, Reporter& report);
/// Persistent buffers share bytes with nothing.
void check_persistent(Template const& shape, Reporter& report);
/// All of the above.
bool check_template(Template const& shape, Reporter& report);

/// Row boundaries of one operand pair of a reduce_scatter or all_gather: rows[r] .. rows[r + 1] belong to member r.
using Rows = std::vector<std::int64_t>;
/// The attribute "rows" of a step, one list per operand pair; empty when absent (equal parts). Nothing when malformed.
std::optional<std::vector<Rows>> parse_rows(Step const& step);

/// The attributes `dim` and `flat` of a reduce_scatter or all_gather: what a row is.
struct RowsOf {
  int dim = 0;
  bool flat = false;
};
/// Nothing when malformed.
std::optional<RowsOf> parse_rows_of(Step const& step);
/// Rows of a tensor with at least one dim; none when it is empty and the rows are flat. `of.dim` must be there.
std::int64_t row_count(Shape const& shape, RowsOf of);

/// What a rank's binding must satisfy because of its template; collected once per template.
class BindingRules {
 public:
  explicit BindingRules(Template const& shape);
  /// Table sizes, members, peers, row ranges, slabs of one rank.
  bool check(Binding const& binding, Reporter& report);

 private:
  struct PeerUse {
    int program, step;
  };
  struct RowsUse {
    int program, step;
    std::vector<Rows> rows;
    RowsOf of;
  };
  bool check_members(Binding const& binding, Reporter& report);
  bool check_rows(RowsUse const& use, int size, int index, Reporter& report) const;
  bool check_slabs(Binding const& binding, Reporter& report) const;

  Template const* shape_;
  std::vector<std::vector<PeerUse>> peers_;  // per group: first step that names each peer in each kind
  std::vector<std::vector<RowsUse>> rows_;   // per group
  std::vector<int> with_slabs_;              // buffers of which a rank may hold a part
  /// Group, size and place in it whose row tables were found sound: the same for every rank that has them.
  std::set<std::tuple<std::size_t, int, int>> sound_rows_;
  std::vector<int> seen_;  // scratch: by world rank, the stamp of the list that named it
  int stamp_ = 0;
};

}  // namespace lamina::program::detail
