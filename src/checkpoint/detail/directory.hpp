#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/detail/manifest.hpp"
#include "lamina/base/error.hpp"

/// The directories of checkpoints: names, which of them are complete, and how old ones go.
namespace lamina::checkpoint::detail {

/// A directory that claims to be a checkpoint.
struct Candidate {
  std::string directory;
  std::int64_t step = -1;  ///< by its name; -1 when it was named directly and is called something else
};

std::string checkpoints_of(std::string const& run_dir);                    ///< <run_dir>/checkpoints
std::string directory_name(std::int64_t step);                             ///< "step-00000012"
std::optional<std::int64_t> find_step(std::string const& directory_name);  ///< inverse

/// The checkpoints that a path means, oldest first: itself when it is one (it holds a manifest or is called step-*),
/// else the step-* in <path>/checkpoints or in <path>. Directories that begin with a dot are work in progress and
/// ignored.
std::vector<Candidate> find_candidates(std::string const& path);

/// The manifest of a checkpoint whose files exist with the right sizes.
/// @throws Error "checkpoint.manifest.*", "checkpoint.load.file_size", "checkpoint.load.step", "io.file.*".
Manifest read_complete(Candidate const& candidate);
/// The step against the directory's name. @throws Error "checkpoint.load.step".
void require_step(Candidate const& candidate, Manifest const& manifest);
/// Size of each file against the manifest. @throws Error "checkpoint.load.file_size".
void require_file_size(std::string const& directory, FileEntry const& file);
/// "<subject>: <found>; expected <expected>" on one line.
std::string one_line(ErrorInfo const& e);

/// Removes what killed saves and prunings left. Only for the one job that owns the run directory.
void remove_leftovers(std::string const& checkpoints);
/// Removes complete checkpoints older than `newest` except the newest max(2, keep), `newest` included, and those whose
/// step is a multiple of keep_every. Those newer than `newest` neither count nor go: they are of a line of history
/// that was given up, because a load passed them over as damaged. Renames before it deletes, so that a kill leaves no
/// half checkpoint. Incomplete ones stay for people to look at.
void prune(std::string const& checkpoints, std::int64_t newest, Options const& options);

}  // namespace lamina::checkpoint::detail
