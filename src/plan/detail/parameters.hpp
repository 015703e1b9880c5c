#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/detail/lowering.hpp"
#include "plan/detail/pass.hpp"

/// From rows that each replica has updated (ZeRO 1 and 2) to what products read.
namespace lamina::plan {

/// All-gathers, a bucket at a time, of buffers of which every replica has its own rows.
class RowGather {
 public:
  RowGather(Plan const& plan, Buffers const& buffers, ProgramWriter& writer)
      : plan_(plan), buffers_(buffers), writer_(writer) {}
  void add(int buffer);  ///< starts the gather of those that fill a bucket
  void flush();

 private:
  Plan const& plan_;
  Buffers const& buffers_;
  ProgramWriter& writer_;
  std::vector<int> waiting_;
  std::int64_t bytes_ = 0;
};

/// Casts the copies of a parameter that are not packed: of this rank's rows where the other replicas cast theirs.
/// `updated`: its master has changed, with ZeRO in this rank's rows only.
void cast_copies(Plan const& plan, Buffers const& buffers, ProgramWriter& writer, std::string const& parameter,
                 bool updated);
/// What of a parameter is then to be gathered.
std::vector<int> cut_buffers(Plan const& plan, Buffers const& buffers, std::string const& parameter, bool updated);
/// Makes a packed copy of a master that is whole.
void pack(Buffers const& buffers, ProgramWriter& writer, WorkingCopy const& copy);

/// Parameters of which an update leaves the other replicas' rows for the next forward to fetch beneath its products, in
/// the order of their first use. The update itself fetches those of the first two blocks, beneath the rest of it: the
/// forward would wait for them; but not the tables of first lookups, which count from their next use on. Nothing
/// without overlap. (The forward's prefetch in PyTorch FSDP, Zhao et al., 2023.)
std::vector<std::string> late_parameters(Plan const& plan, Part const& part, Kind const& kind, Buffers const& buffers);

}  // namespace lamina::plan
