#pragma once

#include <string>

#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/checkpoint/safetensors.hpp"

/// Between checkpoints and other systems' files: behind `lamina checkpoint import` and `export`. One rank, no MPI.
namespace lamina::checkpoint {

/// Hugging Face GPT-2 weights -> <run_dir>/checkpoints/step-00000000 with the parameters and zero moments, as `state`
/// says (its step is set to 0).
/// @param source a directory with config.json and safetensors, or a safetensors file with config.json beside it.
SaveReport import_gpt2(std::string const& source, std::string const& run_dir, State state);

/// Sizes of the GPT whose parameters a checkpoint holds, from their names and shapes.
/// @throws Error "checkpoint.gpt2.sizes" when they are not a GPT-2's (positions, biases, head). What has no parameters
/// (norm placement, activation) is not to be seen in a checkpoint: the caller checks it in state.config.
HfSizes gpt2_sizes(std::string const& checkpoint_dir);

/// Parameters of a checkpoint -> a directory that transformers loads. Reads one tensor at a time, checking checksums.
void export_gpt2(std::string const& checkpoint_dir, std::string const& directory);

/// Parameters of a checkpoint under their own names and global shapes -> <directory>/model.safetensors; returns its path.
std::string export_parameters(std::string const& checkpoint_dir, std::string const& directory);

}  // namespace lamina::checkpoint
