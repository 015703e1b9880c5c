// Values of the table as text: TOML for the resolved file, words for messages.
#include <algorithm>
#include <cstdio>

#include "config/detail/keys.hpp"
#include "config/detail/lists.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"

namespace lamina::config::detail {
namespace {

std::string number(double x) {
  auto s = exact(x);
  if (s.ends_with(".0") && s.size() > 3) s.resize(s.size() - 2);  // "4096", but "0.0" and "1.0"
  return s;
}

std::string limit_text(Key const& key, double x) {
  if (key.kind == Kind::bytes) return exact_bytes(static_cast<std::int64_t>(x));
  if (key.kind == Kind::seconds) return exact_seconds(x);
  if (key.kind == Kind::real || key.kind == Kind::two_reals) return number(x);
  return text(static_cast<std::int64_t>(x));
}

std::string range_text(Key const& key) {
  auto const& l = key.limits;
  auto const from = limit_text(key, l.min);
  if (l.max >= 1e11) return text(from, " or more");
  return text(from, l.below_max ? " to below " : " to ", limit_text(key, l.max));
}

template <class List, class F>
std::string list_text(List const& items, F const& item) {
  std::vector<std::string> words;
  for (auto const& i : items) words.push_back(item(i));
  return text('[', join(words), ']');
}

/// A layer with the keys that its op has, defaults left out.
std::string layer_text(LayerSpec const& layer) {
  static LayerSpec const plain;
  std::vector<std::string> words;
  if (!layer.name.empty()) words.push_back(text("name = ", quoted(layer.name)));
  words.push_back(text("op = ", quoted(layer.op)));
  if (layer.out != plain.out) words.push_back(text("out = ", layer.out));
  if (layer.bias != plain.bias) words.push_back(text("bias = ", layer.bias ? "true" : "false"));
  if (layer.p != plain.p) words.push_back(text("p = ", real_text(layer.p)));
  return text("{ ", join(words), " }");
}

}  // namespace

// As people write it: 6e-4, where the shortest text of the library is 6e-04.
std::string real_text(double x) {
  auto s = exact(x);
  auto const e = s.find('e');
  if (e != s.npos && e + 2 < s.size() && s[e + 2] == '0') s.erase(e + 2, 1);
  return s;
}

std::string quoted(std::string_view s) {
  std::string r = "\"";
  for (char const c : s) {
    auto const u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      r += '\\', r += c;
    } else if (u < 32 || u == 127) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", u);
      r += escape;
    } else {
      r += c;
    }
  }
  return r + '"';
}

std::string describe(Key const& key) {
  auto const or_automatic = key.limits.automatic.empty() ? "" : text(", or ", quoted(key.limits.automatic));
  switch (key.kind) {
    case Kind::text:
      return "a text";
    case Kind::choice:
      return text("one of \"", join(words_of(key.limits.choices), "\", \""), '"');
    case Kind::integer:
      return text("an integer, ", range_text(key), or_automatic);
    case Kind::real:
      return text("a number, ", range_text(key), or_automatic);
    case Kind::boolean:
      return "true or false";
    case Kind::bytes:
      return text("an amount of memory as text, such as \"64 MiB\"", or_automatic);
    case Kind::seconds:
      return "a time as text, such as \"30 s\" or \"10 min\"";
    case Kind::texts:
      return "a list of texts";
    case Kind::integers:
      return text("a list of integers, ", range_text(key));
    case Kind::two_reals:
      return text("a list of two numbers, ", range_text(key));
    case Kind::layers:
      return text("an integer, ", range_text(key), or_automatic, ", or a list of tables with op, name, out, bias, p");
    case Kind::names:
      return std::string(names_form);
    case Kind::stages:
      return std::string(stages_form);
    case Kind::splits:
      return std::string(splits_form);
    case Kind::fixed:
      return std::string(key.limits.fixed);
  }
  return "";
}

std::string to_toml(Key const& key, RunConfig const& config) {
  if (key.kind == Kind::fixed) return std::string(key.limits.fixed);
  // The table hands out one kind of member pointer; nothing is written through it here.
  auto const field = key.field(const_cast<RunConfig&>(config));
  auto const automatic = [&](double value) {
    return !key.limits.automatic.empty() && value == key.limits.automatic_value;
  };
  switch (key.kind) {
    case Kind::text:
    case Kind::choice: {
      auto const& s = *std::get<std::string*>(field);
      return s.empty() && !key.limits.may_be_empty ? "" : quoted(s);
    }
    case Kind::boolean:
      return *std::get<bool*>(field) ? "true" : "false";
    case Kind::integer: {
      auto const i = *std::get<std::int64_t*>(field);
      return automatic(static_cast<double>(i)) ? quoted(key.limits.automatic) : text(i);
    }
    case Kind::real: {
      auto const d = *std::get<double*>(field);
      return automatic(d) ? quoted(key.limits.automatic) : real_text(d);
    }
    case Kind::bytes: {
      auto const i = *std::get<std::int64_t*>(field);
      return quoted(automatic(static_cast<double>(i)) ? std::string(key.limits.automatic) : exact_bytes(i));
    }
    case Kind::seconds:
      return quoted(exact_seconds(*std::get<double*>(field)));
    case Kind::texts:
      return list_text(*std::get<std::vector<std::string>*>(field), quoted);
    case Kind::integers:
      return list_text(*std::get<std::vector<std::int64_t>*>(field), [](std::int64_t i) { return text(i); });
    case Kind::two_reals: {
      auto const two = std::get<TwoReals>(field);
      return text('[', real_text(*two.first), ", ", real_text(*two.second), ']');
    }
    case Kind::layers: {
      auto const layers = std::get<Layers>(field);
      if (!layers.list->empty()) return list_text(*layers.list, layer_text);
      return automatic(static_cast<double>(*layers.count)) ? quoted(key.limits.automatic) : text(*layers.count);
    }
    case Kind::names:
      return names_text(*std::get<std::vector<std::string>*>(field));
    case Kind::stages:
      return stages_text(*std::get<Stages*>(field));
    case Kind::splits:
      return splits_text(*std::get<std::vector<LayerSplit>*>(field));
    case Kind::fixed:
      break;
  }
  return "";
}

}  // namespace lamina::config::detail

namespace lamina::config {
namespace {

using CustomValues = std::vector<std::pair<std::string, Attribute>>;

CustomValues in_declared_order(Model const& model, std::vector<CustomModel> const& custom) {
  CustomValues values(model.custom.begin(), model.custom.end());
  auto const at = std::ranges::find(custom, model.kind, &CustomModel::kind);
  if (at == custom.end()) return values;
  auto const position = [&](std::string const& name) {
    return std::ranges::find(at->keys, name, &CustomKey::name) - at->keys.begin();
  };
  std::ranges::stable_sort(values, {}, [&](auto const& v) { return position(v.first); });
  return values;
}

}  // namespace

std::string print(RunConfig const& config, std::vector<CustomModel> const& custom) {
  std::string out;
  std::string_view section;
  auto const custom_keys = [&] {  // after the known keys of [model]
    if (section != "model") return;
    for (auto const& [name, value] : in_declared_order(config.model, custom)) {
      out += text(name, " = ");
      if (auto const* i = std::get_if<std::int64_t>(&value)) out += text(*i);
      if (auto const* d = std::get_if<double>(&value)) out += exact(*d);
      if (auto const* s = std::get_if<std::string>(&value)) out += detail::quoted(*s);
      out += '\n';
    }
  };
  for (auto const& key : detail::all_keys()) {
    if (key.section != section) {
      custom_keys();
      out += text(section.empty() ? "" : "\n", '[', key.section, "]\n");
      section = key.section;
    }
    if (auto const value = detail::to_toml(key, config); !value.empty()) out += text(key.name, " = ", value, '\n');
  }
  return out;
}

std::string value_of(RunConfig const& config, std::string_view key) {
  auto const& all = detail::all_keys();
  auto const at =
      std::find_if(all.begin(), all.end(), [&](auto const& k) { return text(k.section, '.', k.name) == key; });
  return detail::to_toml(*at, config);
}

}  // namespace lamina::config
