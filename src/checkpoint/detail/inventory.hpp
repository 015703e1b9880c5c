#pragma once

#include <string>
#include <vector>

#include "checkpoint/detail/manifest.hpp"
#include "lamina/checkpoint/checkpoint.hpp"

/// What all ranks together own: how rank 0 learns which tensors there are and that each element has one owner.
namespace lamina::checkpoint::detail {

/// Checks this rank's pieces alone: names, roles, memory. @throws Error "checkpoint.save.*".
void require_sound(std::vector<Piece> const& pieces);

/// Names, roles, specs and boxes of the pieces this rank owns, as bytes.
std::string pack_owned(std::vector<Piece> const& pieces);

/// Puts the packed lists of all ranks together; tensors in the order of role and name, without files and offsets.
/// @throws Error "checkpoint.save.shape" when ranks disagree about a tensor, "checkpoint.save.owners" when an element
/// has no owner or two.
std::vector<TensorEntry> merge_owned(std::vector<std::string> const& packed);

/// Spreads the tensors over at most `files` files by bytes: the largest first, each to the emptiest file.
void assign_files(std::vector<TensorEntry>& tensors, std::int64_t files);

}  // namespace lamina::checkpoint::detail
