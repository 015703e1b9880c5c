#include "config/detail/values.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "config/detail/layer.hpp"
#include "config/detail/lists.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"

namespace lamina::config::detail {
namespace {

/// One value on its way into one key.
class Storing {
 public:
  Storing(Key const& key, Value const& value, RunConfig& config, std::vector<std::string> const& kinds)
      : key_(key), value_(value), config_(config), kinds_(kinds) {}

  std::vector<ErrorInfo> run() {
    auto const all = [](std::optional<ErrorInfo> problem) {
      std::vector<ErrorInfo> problems;
      if (problem) problems.push_back(std::move(*problem));
      return problems;
    };
    if (key_.kind == Kind::fixed) {
      if (value_.shown == key_.limits.fixed) return {};
      return all(not_yet(text("other than ", key_.limits.fixed)));
    }
    auto const field = key_.field(config_);
    if (!key_.limits.automatic.empty() && as_text() == key_.limits.automatic) {
      if (auto* const* i = std::get_if<std::int64_t*>(&field))
        **i = static_cast<std::int64_t>(key_.limits.automatic_value);
      if (auto* const* d = std::get_if<double*>(&field)) **d = key_.limits.automatic_value;
      if (auto const* l = std::get_if<Layers>(&field)) *l->count = 0, l->list->clear();
      return {};
    }
    switch (key_.kind) {
      case Kind::text:
        return all(store_text(*std::get<std::string*>(field)));
      case Kind::choice:
        return all(store_choice(*std::get<std::string*>(field)));
      case Kind::boolean:
        return all(store_boolean(*std::get<bool*>(field)));
      case Kind::integer:
        return all(store_integer(value_, *std::get<std::int64_t*>(field)));
      case Kind::real:
        return all(store_real(value_, *std::get<double*>(field)));
      case Kind::bytes:
        return all(store_quantity(*std::get<std::int64_t*>(field), parse_bytes));
      case Kind::seconds:
        return all(store_quantity(*std::get<double*>(field), parse_seconds));
      case Kind::texts:
        return all(store_texts(*std::get<std::vector<std::string>*>(field)));
      case Kind::integers:
        return all(store_integers(*std::get<std::vector<std::int64_t>*>(field)));
      case Kind::two_reals:
        return all(store_two(std::get<TwoReals>(field)));
      case Kind::layers:
        return store_layers(std::get<Layers>(field));
      case Kind::names:
        return all(read_names(value_, name(), *std::get<std::vector<std::string>*>(field)));
      case Kind::stages:
        return read_stages(value_, name(), *std::get<Stages*>(field));
      case Kind::splits:
        return read_splits(value_, name(), *std::get<std::vector<LayerSplit>*>(field));
      case Kind::fixed:
        break;
    }
    return {};
  }

 private:
  std::string name() const { return text(key_.section, '.', key_.name); }
  std::optional<std::string> as_text() const {
    if (value_.raw) return value_.raw;
    auto const* s = std::get_if<std::string>(&value_.of);
    return s ? std::optional(*s) : std::nullopt;
  }

  ErrorInfo problem(std::string_view rule, std::string fix) const {
    return {.code = text("config.", key_.section, '.', rule),
            .subject = name(),
            .found = value_.shown,
            .expected = describe(key_),
            .fix = std::move(fix)};
  }
  bool takes_kinds() const { return key_.section == "model" && key_.name == "kind"; }
  ErrorInfo type_problem() const {
    static RunConfig const defaults;
    auto example = to_toml(key_, defaults);
    if (key_.limits.required || example.empty())
      example = key_.kind == Kind::texts ? "[\"data/*.txt\"]" : "\"runs/first\"";
    return problem("type", text("write it like ", key_.name, " = ", example));
  }
  ErrorInfo not_yet(std::string_view what) const {
    static RunConfig const defaults;
    auto words = available_choices(key_);
    if (takes_kinds()) words.insert(words.end(), kinds_.begin(), kinds_.end());
    return {.code = text("config.", key_.section, ".not_yet"),
            .subject = text(name(), " ", what, " is not available yet"),
            .found = value_.shown,
            .expected = key_.kind == Kind::choice ? text("for now one of \"", join(words, "\", \""), '"')
                                                  : text("for now ", key_.name, " = ", to_toml(key_, defaults)),
            .fix = text("leave the key out, or write ", key_.name, " = ", to_toml(key_, defaults))};
  }

  std::optional<ErrorInfo> store_text(std::string& to) {
    auto const s = as_text();
    if (!s) return type_problem();
    if (s->empty() && !key_.limits.may_be_empty) return problem("empty", "write a text that is not empty");
    if (s->find('\0') != s->npos) return problem("type", "remove the zero byte");
    to = *s;
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_choice(std::string& to) {
    auto const s = as_text();
    if (!s) return type_problem();
    auto known = words_of(key_.limits.choices);
    if (takes_kinds()) known.insert(known.end(), kinds_.begin(), kinds_.end());
    if (std::ranges::find(known, *s) == known.end()) {
      auto const guess = closest(*s, known);
      auto p = problem("choice", guess.empty() ? "take one of these" : text("did you mean \"", guess, "\"?"));
      p.expected = text("one of \"", join(known, "\", \""), '"');
      return p;
    }
    auto const later = words_of(key_.limits.not_yet);
    if (std::ranges::find(later, *s) != later.end()) return not_yet(text("= ", quoted(*s)));
    to = *s;
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_boolean(bool& to) {
    auto const* b = std::get_if<bool>(&value_.of);
    if (!b) return type_problem();
    to = *b;
    return std::nullopt;
  }

  std::optional<ErrorInfo> check_range(double x) const {
    auto const& l = key_.limits;
    if (!(x >= l.min) || !(x <= l.max) || (l.below_max && x == l.max)) {
      return problem("range", "correct the value");
    }
    if (x > l.available_to) return not_yet(text("= ", value_.shown));
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_integer(Value const& v, std::int64_t& to) const {
    if (auto const* d = std::get_if<double>(&v.of); d && *d == std::floor(*d) && std::fabs(*d) < 1e15) {
      return problem("type", text("write ", static_cast<std::int64_t>(*d), ", without point and exponent"));
    }
    auto const* i = std::get_if<std::int64_t>(&v.of);
    if (!i) return type_problem();
    if (auto p = check_range(static_cast<double>(*i))) return p;
    to = *i;
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_real(Value const& v, double& to) const {
    double x = 0;
    if (auto const* d = std::get_if<double>(&v.of)) {
      x = *d;
    } else if (auto const* i = std::get_if<std::int64_t>(&v.of)) {
      x = static_cast<double>(*i);
    } else {
      return type_problem();
    }
    if (auto p = check_range(x)) return p;
    to = x + 0.0;  // -0.0 prints and hashes as 0.0
    return std::nullopt;
  }

  template <class T>
  std::optional<ErrorInfo> store_quantity(T& to, T (*parse)(std::string_view)) const {
    auto const s = as_text();
    if (!s) return type_problem();
    try {
      T const x = parse(*s);
      if (auto p = check_range(static_cast<double>(x))) return p;
      to = x;
    } catch (Error const& e) {
      return problem("unit", e.info().fix);
    }
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_texts(std::vector<std::string>& to) const {
    std::vector<std::string> list;
    if (auto const* items = std::get_if<std::vector<Value>>(&value_.of)) {
      for (auto const& item : *items) {
        auto const* s = std::get_if<std::string>(&item.of);
        if (!s) return type_problem();
        if (s->empty() || s->find('\0') != s->npos) return problem("empty", "remove the empty text");
        list.push_back(*s);
      }
    } else if (auto const* s = std::get_if<std::string>(&value_.of); s && !s->empty()) {
      return problem("type", text("write a list: ", key_.name, " = [", quoted(*s), "]"));
    } else {
      return type_problem();
    }
    if (key_.limits.required && list.empty()) return problem("empty", "name at least one");
    to = std::move(list);
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_integers(std::vector<std::int64_t>& to) const {
    auto const* items = std::get_if<std::vector<Value>>(&value_.of);
    if (!items) return type_problem();
    std::vector<std::int64_t> list(items->size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (auto p = store_integer((*items)[i], list[i])) return p;
    }
    to = std::move(list);
    return std::nullopt;
  }

  std::optional<ErrorInfo> store_two(TwoReals to) const {
    auto const* items = std::get_if<std::vector<Value>>(&value_.of);
    if (!items || items->size() != 2) return type_problem();
    double first = 0, second = 0;
    if (auto p = store_real((*items)[0], first)) return p;
    if (auto p = store_real((*items)[1], second)) return p;
    *to.first = first, *to.second = second;
    return std::nullopt;
  }

  std::vector<ErrorInfo> store_layers(Layers to) const {
    auto const* items = std::get_if<std::vector<Value>>(&value_.of);
    if (!items) {
      if (auto p = store_integer(value_, *to.count)) return {*p};
      to.list->clear();
      return {};
    }
    std::vector<LayerSpec> list(items->size());
    std::vector<ErrorInfo> problems;
    for (std::size_t i = 0; i < list.size(); ++i) {
      for (auto& p : read_layer((*items)[i], text(name(), '[', i, ']'), list[i])) problems.push_back(std::move(p));
    }
    if (list.empty()) return {problem("empty", "name at least one layer: layers = [{ op = \"linear\", out = 10 }]")};
    if (!problems.empty()) return problems;
    *to.count = 0;
    *to.list = std::move(list);
    return {};
  }

  Key const& key_;
  Value const& value_;
  RunConfig& config_;
  std::vector<std::string> const& kinds_;
};

}  // namespace

std::vector<ErrorInfo> store(Key const& key, Value const& value, RunConfig& config,
                             std::vector<std::string> const& kinds) {
  if (key.kind == Kind::texts && value.raw && !std::holds_alternative<std::vector<Value>>(value.of)) {
    // --set takes a list of one text without brackets and quotes.
    Value one, list;
    one.of = *value.raw;
    list.of = std::vector<Value>{one};
    list.shown = value.shown;
    return Storing(key, list, config, kinds).run();
  }
  return Storing(key, value, config, kinds).run();
}

std::optional<ErrorInfo> store_custom(CustomKey const& key, Value const& value, Attributes& custom) {
  auto const problem = [&](std::string_view rule, std::string expected, std::string fix) {
    return ErrorInfo{.code = text("config.model.", rule),
                     .subject = text("model.", key.name),
                     .found = value.shown,
                     .expected = std::move(expected),
                     .fix = std::move(fix)};
  };
  auto const range = text("from ", exact(key.min), " to ", exact(key.max));
  if (std::holds_alternative<std::string>(key.default_value)) {
    auto const* s = std::get_if<std::string>(&value.of);
    if (!s && value.raw) s = &*value.raw;
    if (!s) return problem("type", "a text", "put it in quotes");
    custom.set(key.name, *s);
    return std::nullopt;
  }
  bool const real = std::holds_alternative<double>(key.default_value);
  double x = 0;
  if (auto const* i = std::get_if<std::int64_t>(&value.of)) {
    x = static_cast<double>(*i);
    real ? custom.set(key.name, x) : custom.set(key.name, *i);
  } else if (auto const* b = std::get_if<bool>(&value.of); b && !real) {
    x = *b;
    custom.set(key.name, std::int64_t{*b});
  } else if (auto const* d = std::get_if<double>(&value.of); d && real) {
    x = *d;
    custom.set(key.name, x);
  } else {
    return problem("type", text(real ? "a number " : "an integer ", range), "correct the value");
  }
  if (!(x >= key.min && x <= key.max)) return problem("range", text("a number ", range), "correct the value");
  return std::nullopt;
}

}  // namespace lamina::config::detail
