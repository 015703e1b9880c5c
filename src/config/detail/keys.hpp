#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lamina/config/run_config.hpp"

/// One table of all keys. Reading, checking, printing, --set, `lamina new` and completion follow from it alone.
namespace lamina::config::detail {

enum class Kind : std::uint8_t {
  text,
  choice,
  integer,
  real,
  boolean,
  bytes,    // "64 MiB"
  seconds,  // "10 min"
  texts,    // list
  integers,
  two_reals,
  layers,  // an integer, or a list of tables that say the layers
  names,   // a text or a list of texts: layers by path
  stages,
  splits,
  fixed,  // a known key whose default is all there is for now: no member
};

struct TwoReals {
  double *first, *second;
};

struct Layers {
  std::int64_t* count;
  std::vector<LayerSpec>* list;
};

/// Where a value lives; monostate for Kind::fixed.
using Field = std::variant<std::monostate, std::string*, std::int64_t*, double*, bool*, std::vector<std::string>*,
                           std::vector<std::int64_t>*, TwoReals, Layers, Stages*, std::vector<LayerSplit>*>;

struct Limits {
  double min = 0, max = 1e15;       ///< of numbers, in bytes and seconds where there is a unit
  bool below_max = false;           ///< max itself is excluded
  std::string_view choices = {};    ///< of Kind::choice, in the file's order: "pre|post"
  std::string_view not_yet = {};    ///< choices that are known but refused for now
  double available_to = 1e300;      ///< numbers above are known but refused for now
  std::string_view automatic = {};  ///< a word that stands for `automatic_value`: "auto"
  double automatic_value = 0;
  std::string_view fixed = {};  ///< of Kind::fixed: the default as TOML
  bool required = false;
  bool basic = false;         ///< `lamina new` writes it as an active line
  bool may_be_empty = false;  ///< of Kind::text: "" is a value, the default
  std::string_view of = {};   ///< "text|table": means something for a model or data of these kinds only
};

struct Key {
  std::string_view section, name;
  Kind kind;
  Field (*field)(RunConfig&);
  std::string_view help;
  Limits limits = {};
};

std::span<Key const> all_keys();
/// The sections in the order of the README.
std::vector<std::string_view> const& all_sections();
Key const* find_key(std::string_view section, std::string_view name);
std::vector<std::string> names_in(std::string_view section);

/// "gpt|layers" -> {"gpt", "layers"}
std::vector<std::string> words_of(std::string_view choices);
/// The words of Kind::choice that are not refused for now.
std::vector<std::string> available_choices(Key const& key);

/// Values of [model] or [data] that the kind has no use for; registered models may use any.
bool is_of_kind(Key const& key, RunConfig const& config);

/// What a key takes, in words: "an integer from 1 to 4096", "one of \"pre\", \"post\"".
std::string describe(Key const& key);
/// The value of a key as TOML; "" when there is nothing to write (a required text that is still empty).
std::string to_toml(Key const& key, RunConfig const& config);
/// A number as people write it: "6e-4".
std::string real_text(double x);
/// A TOML basic string.
std::string quoted(std::string_view s);

}  // namespace lamina::config::detail
