#include "lamina/config/new_run_file.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "config/detail/keys.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::config {
namespace {

constexpr std::int64_t gpt2_vocab = 50257;

// Sizes: Radford et al., 2019, table 2. Learning rates: Brown et al., 2020 (GPT-3), table 2.1.
struct PresetRow {
  char const *name, *help;
  std::int64_t layers, hidden, heads, context, global, micro;
  double lr;
};
constexpr std::array<PresetRow, 6> rows{{
    {"gpt-tiny", "0.8 M parameters: seconds on a laptop, for trying things out", 4, 128, 4, 128, 16, 8, 1e-3},
    {"gpt-small", "10 M parameters: minutes on a few cores", 6, 384, 6, 256, 32, 8, 1e-3},
    {"gpt2-124m", "GPT-2 small", 12, 768, 12, 1024, 8, 4, 6e-4},
    {"gpt2-350m", "GPT-2 medium", 24, 1024, 16, 1024, 8, 4, 3e-4},
    {"gpt2-774m", "GPT-2 large", 36, 1280, 20, 1024, 8, 2, 2.5e-4},
    {"gpt2-1.5b", "GPT-2 XL", 48, 1600, 25, 1024, 8, 1, 2e-4},
}};

/// A classifier of 10 classes over 64 numbers, and data that need no file.
Preset mlp_preset() {
  Preset p{.name = "mlp",
           .help = "a small feed-forward classifier of numbers in a table (.csv, .csv.gz), or of synthetic data",
           .model = {},
           .global = 32,
           .micro = 32,
           .lr = 1e-3};
  p.model.kind = "layers";
  p.model.input = {64};
  p.model.network = {{.op = "linear", .name = "fc1", .out = 128},
                     {.op = "relu", .name = "relu1"},
                     {.op = "linear", .name = "fc2", .out = 10}};
  return p;
}

std::string default_text(detail::Key const& key) {
  static RunConfig const defaults;
  return key.limits.required ? "" : detail::to_toml(key, defaults);
}

bool ends_in_tokens(std::string const& file) { return file.ends_with(".bin") || file.ends_with(".idx"); }

RunConfig config_of(NewRun const& options, Preset const& preset) {
  RunConfig c;
  c.run.dir = options.dir.empty() ? text("runs/", preset.name) : options.dir;
  c.run.steps = 1000;
  c.model = preset.model;
  bool const numbers = preset.model.kind == "layers";
  c.data.train = options.data.empty() && !numbers ? std::vector<std::string>{"data/*.txt"} : options.data;
  c.data.kind = numbers ? (options.data.empty() ? "synthetic" : "table")
                        : (ends_in_tokens(c.data.train.front()) ? "tokens" : "text");
  c.data.valid_fraction = 0.05;
  // Shards do not say what they were made with; GPT-2's vocabulary is what the usual tools take.
  if (c.data.kind == "tokens") c.model.vocab = gpt2_vocab;
  c.batch.global = preset.global, c.batch.micro = preset.micro;
  c.optimizer.lr = preset.lr;
  c.lr_schedule.warmup_steps = 50;
  c.eval.every_steps = 100;
  return c;
}

std::string line_of(detail::Key const& key, RunConfig const& config) {
  auto const value = detail::to_toml(key, config);
  bool const active = key.limits.basic || value != default_text(key);
  auto line = text(active ? "" : "# ", key.name, " = ", value);
  std::string note(key.help);
  if (key.kind == detail::Kind::choice) {
    auto const words = detail::available_choices(key);
    if (words.size() > 1) note = text(join(words, " | "), "; ", note);
  }
  constexpr std::size_t column = 34;
  line += std::string(line.size() < column ? column - line.size() : 2, ' ');
  return text(line, "# ", note, '\n');
}

// A known key that can only have its default yet would be noise in a new file.
bool has_a_choice(detail::Key const& key) {
  if (key.kind == detail::Kind::choice) return key.limits.required || detail::available_choices(key).size() > 1;
  return key.kind != detail::Kind::fixed && key.limits.available_to > key.limits.min;
}

}  // namespace

std::vector<Preset> const& presets() {
  static auto const all = [] {
    std::vector<Preset> list;
    for (auto const& r : rows) {
      Preset p{.name = r.name, .help = r.help, .model = {}, .global = r.global, .micro = r.micro, .lr = r.lr};
      p.model.kind = "gpt";
      p.model.layers = r.layers, p.model.hidden = r.hidden, p.model.heads = r.heads, p.model.context = r.context;
      list.push_back(std::move(p));
    }
    list.push_back(mlp_preset());
    return list;
  }();
  return all;
}

std::string new_run_file(NewRun const& options) {
  auto const preset = std::ranges::find(presets(), options.model, &Preset::name);
  if (preset == presets().end()) {
    std::vector<std::string> names;
    for (auto const& p : presets()) names.push_back(p.name);
    auto const guess = closest(options.model, names);
    fail({.code = "config.new.model",
          .subject = "a new run file",
          .found = text("--model ", options.model),
          .expected = text("one of ", join(names)),
          .fix = guess.empty() ? "take one of these and change its sizes in the file"
                               : text("did you mean ", guess, '?')});
  }
  auto const config = config_of(options, *preset);
  std::string out = text("# ", preset->name, ": ", preset->help, ".\n",
                         "# Check it with `lamina plan`, start it with `lamina train`. Lines that begin with '#' show "
                         "the defaults.\n");
  for (auto const& section : detail::all_sections()) {
    std::string lines;
    for (auto const& key : detail::all_keys()) {
      if (key.section == section && has_a_choice(key) && detail::is_of_kind(key, config)) lines += line_of(key, config);
    }
    if (!lines.empty()) out += text("\n[", section, "]\n", lines);
  }
  return out;
}

std::vector<KeyHelp> key_help(std::vector<CustomModel> const& custom) {
  std::vector<KeyHelp> list;
  for (auto const& key : detail::all_keys()) {
    auto choices = detail::available_choices(key);
    if (key.kind == detail::Kind::boolean) choices = {"true", "false"};
    if (key.section == "model" && key.name == "kind") {
      for (auto const& model : custom) choices.push_back(model.kind);
    }
    list.push_back({.name = text(key.section, '.', key.name),
                    .takes = detail::describe(key),
                    .default_value = default_text(key),
                    .help = std::string(key.help),
                    .choices = std::move(choices)});
  }
  for (auto const& model : custom) {
    for (auto const& key : model.keys) {
      auto const value = std::visit([](auto const& v) { return text(v); }, key.default_value);
      bool const is_text = std::holds_alternative<std::string>(key.default_value);
      list.push_back({.name = text("model.", key.name),
                      .takes = is_text ? "a text" : text("a number from ", exact(key.min), " to ", exact(key.max)),
                      .default_value = is_text ? detail::quoted(value) : value,
                      .help = key.help,
                      .choices = {}});
    }
  }
  return list;
}

}  // namespace lamina::config
