#pragma once

#include <string>
#include <string_view>

/// Fault points: places in file-writing code where a test, or a person who wants to see what happens, makes something
/// go wrong. Compiled in always; a process without LAMINA_FAULT pays one load and one branch a point.
///
/// LAMINA_FAULT = point:action:rank:count[,point:action:rank:count...]
///   point   a name such as checkpoint.fsync, see src/checkpoint/README.md
///   action  kill | stop | delay | short-write | ENOSPC | EIO | bitflip
///   rank    number of the MPI rank, or *
///   count   the passage at which it happens, from 1; it happens once
namespace lamina::fault {

enum class Action { none, kill, stop, delay, short_write, no_space, io_error, bitflip };

/// One passage of the point `site` + "." + `operation`. kill (SIGKILL), stop (SIGSTOP) and delay (2 s) happen in here;
/// the others are returned, for the caller to act them out. Any thread.
/// @throws Error "base.fault.syntax" on the first call when LAMINA_FAULT cannot be read.
Action hit(std::string_view site, std::string_view operation);

/// Replaces what LAMINA_FAULT said ("" removes all faults) and starts counting anew.
void configure(std::string const& faults);

/// The rank of this process. Default: what the launcher's environment says (Open MPI, PMIx, Slurm, PMI), else 0.
void set_rank(int rank);

}  // namespace lamina::fault
