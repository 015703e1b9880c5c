#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/detail/document.hpp"
#include "lamina/config/run_config.hpp"

/// Values that are lists of more than numbers and texts: layers by path, stages, splits.
namespace lamina::config::detail {

/// Each reads a value into `to` and returns all that is wrong with it, one of each table of a
/// list, without its place. `where` is the key's name.

/// A text, or a list of texts: "blocks.*", ["embed", "blocks.0-5"].
std::optional<ErrorInfo> read_names(Value const& value, std::string const& where, std::vector<std::string>& to);
/// "auto", [7, 5], or [{ layers = ["embed", "blocks.0-5"], at = 0 }, ...].
std::vector<ErrorInfo> read_stages(Value const& value, std::string const& where, Stages& to);
/// [{ layers = "part1.fc", dim = "out" }, ...].
std::vector<ErrorInfo> read_splits(Value const& value, std::string const& where, std::vector<LayerSplit>& to);

/// The same as TOML.
std::string names_text(std::vector<std::string> const& names);
std::string stages_text(Stages const& stages);
std::string splits_text(std::vector<LayerSplit> const& splits);

/// What such a key takes, in words.
inline constexpr std::string_view names_form =
    "a layer path or a list of them: \"blocks.*\", [\"embed\", \"blocks.0-5\"]";
inline constexpr std::string_view stages_form =
    "\"auto\", blocks per stage [7, 5], or [{ layers = [\"embed\", \"blocks.0-5\"], at = 0 }, ...]";
inline constexpr std::string_view splits_form = "a list of tables [{ layers = \"part1.fc\", dim = \"out\" }, ...]";

}  // namespace lamina::config::detail
