#pragma once

#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"

/// Texts that follow from the table of keys: a new run file, completion, help.
namespace lamina::config {

/// Sizes, batch and learning rate that are usual for a model.
struct Preset {
  std::string name, help;
  Model model;
  std::int64_t global = 8, micro = 4;
  double lr = 6e-4;
};
std::vector<Preset> const& presets();

struct NewRun {
  std::string model = "gpt-tiny";  ///< name of a preset
  std::vector<std::string> data;   ///< files or patterns; none: data/*.txt
  std::string dir;                 ///< run.dir; "": runs/<model>
};

/// A commented run file that `parse` accepts: every key with its help and what it takes, those that one usually changes
/// as active lines, the others with their defaults as comments.
/// data.kind is "tokens" when the first name ends in .bin or .idx, otherwise "text"; for a network of layers "table",
/// or "synthetic" when no file is named.
/// @throws Error "config.new.model" for an unknown preset, with the nearest.
std::string new_run_file(NewRun const& options);

struct KeyHelp {
  std::string name;                  ///< "section.key"
  std::string takes;                 ///< "an integer from 1 to 4096"
  std::string default_value;         ///< as TOML; "" when required
  std::string help;                  ///< one line
  std::vector<std::string> choices;  ///< that are available; empty where the value is not a choice
};
/// Every key in the order of the run file: for completion, `--set` and help.
std::vector<KeyHelp> key_help(std::vector<CustomModel> const& custom = {});

}  // namespace lamina::config
