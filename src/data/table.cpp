#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "data/detail/file.hpp"
#include "data/detail/numbers.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data::detail {
namespace {

[[noreturn]] void refuse(std::string_view rule, std::string subject, std::string found, std::string expected,
                         std::string fix) {
  fail({.code = text("data.table.", rule),
        .subject = std::move(subject),
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = std::move(fix)});
}

/// Which columns of a table are what.
struct Columns {
  std::vector<std::int64_t> x, y;
};

std::int64_t find_column(Table const& t, std::string const& word, char const* key) {
  auto const named = std::ranges::find(t.header, word);
  if (named != t.header.end()) return named - t.header.begin();
  std::int64_t number = 0;
  auto const [end, code] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (code == std::errc() && end == word.data() + word.size() && number >= 1 && number <= t.columns) return number - 1;
  auto const near = closest(word, t.header);
  refuse("column", text(key, " of ", t.files.front()), text('"', word, '"'),
         t.header.empty() ? text("a number from 1 to ", t.columns, ": the file has no header")
                          : text("one of ", join(t.header), ", or a number from 1 to ", t.columns),
         near.empty() ? text("correct ", key) : text("did you mean \"", near, "\"?"));
}

Columns choose(Table const& t, config::Data const& config, Demand const& demand) {
  Columns c;
  auto const labels = demand.values ? demand.outputs : 1;
  for (auto const& word : config.label) c.y.push_back(find_column(t, word, "data.label"));
  for (auto n = std::max<std::int64_t>(0, t.columns - labels); config.label.empty() && n < t.columns; ++n)
    c.y.push_back(n);
  for (auto const& word : config.columns) c.x.push_back(find_column(t, word, "data.columns"));
  for (std::int64_t n = 0; config.columns.empty() && n < t.columns; ++n) {
    if (std::ranges::find(c.y, n) == c.y.end()) c.x.push_back(n);
  }
  for (auto const n : c.x) {
    if (std::ranges::find(c.y, n) == c.y.end()) continue;
    refuse("column", text("field ", n + 1, " of ", t.files.front()), "an input column that is a label too",
           "each column for one of the two", "correct data.columns or data.label");
  }
  if (std::ssize(c.y) != labels) {
    refuse("labels", text("data.label of ", t.files.front()), text(c.y.size(), " label columns"),
           demand.values ? text(labels, ", one for each output of the model") : text("one, the class"),
           "correct data.label, or the last layer's out");
  }
  if (std::ssize(c.x) != demand.features) {
    refuse("features", text("table ", t.files.front()),
           text(c.x.size(), " input columns (", t.columns, " in all, ", c.y.size(), " of them labels)"),
           text(demand.features, " numbers per sample, as model.input says"),
           text("set model.input = [", c.x.size(), "], or choose with data.columns"));
  }
  return c;
}

class TableSource final : public Source {
 public:
  TableSource(Table const& t, Columns const& c, Demand const& demand) : demand_(demand), rows_(std::ssize(t.rows)) {
    for (std::size_t r = 0; r < t.rows.size(); ++r) {
      for (auto const n : c.x) x_.push_back(static_cast<float>(t.at(r, n)));
      for (auto const n : c.y) demand.values ? values_.push_back(static_cast<float>(t.at(r, n))) : add_class(t, r, n);
    }
  }

  std::int64_t samples() const override { return rows_; }
  std::vector<Field> fields() const override { return number_fields(demand_); }
  void fill(std::int64_t sample, std::span<void* const> to) const override {
    copy(x_, sample, demand_.features, to[0]);
    if (!demand_.values) return copy(classes_, sample, 1, to[1]);
    copy(values_, sample, demand_.outputs, to[1]);
    std::int32_t const counted = 0;
    std::memcpy(to[2], &counted, sizeof counted);
  }

  /// Mean and deviation of each input column over the first rows, in f64; a constant column has deviation 1.
  std::vector<std::pair<double, double>> moments(std::int64_t rows) const {
    std::vector<std::pair<double, double>> result;
    for (std::int64_t k = 0; k < demand_.features; ++k) {
      auto const at = [&](std::int64_t r) { return double{x_[static_cast<std::size_t>(r * demand_.features + k)]}; };
      double mean = 0, square = 0;
      for (std::int64_t r = 0; r < rows; ++r) mean += at(r);
      mean /= static_cast<double>(rows);
      for (std::int64_t r = 0; r < rows; ++r) square += (at(r) - mean) * (at(r) - mean);
      double const deviation = std::sqrt(square / static_cast<double>(rows));
      result.emplace_back(mean, deviation > 0 ? deviation : 1);
    }
    return result;
  }

  void normalise(std::vector<std::pair<double, double>> const& moments) {
    for (std::size_t i = 0; i < x_.size(); ++i) {
      auto const& [mean, deviation] = moments[i % moments.size()];
      x_[i] = static_cast<float>((x_[i] - mean) / deviation);
    }
  }

 private:
  void add_class(Table const& t, std::size_t row, std::int64_t column) {
    double const value = t.at(row, column);
    if (value != std::floor(value) || value < 0 || value >= static_cast<double>(demand_.outputs)) {
      refuse("class", text("table ", t.place(row, column)), text("class ", value),
             text("a whole number from 0 to ", demand_.outputs - 1, ": the model has ", demand_.outputs, " outputs"),
             "correct the label, data.label, or the last layer's out; model.loss = \"mse\" takes any number");
    }
    classes_.push_back(static_cast<std::int32_t>(value));
  }

  template <class T>
  static void copy(std::vector<T> const& from, std::int64_t sample, std::int64_t count, void* to) {
    std::memcpy(to, from.data() + sample * count, static_cast<std::size_t>(count) * sizeof(T));
  }

  Demand demand_;
  std::int64_t rows_;
  std::vector<float> x_, values_;
  std::vector<std::int32_t> classes_;
};

std::shared_ptr<TableSource> open_files(std::vector<std::string> const& patterns, char const* key,
                                        config::Data const& config, Demand const& demand) {
  auto const table = read_table(expand(patterns));
  if (table.rows.empty()) {
    refuse("empty", text(key, " ", join(patterns)), "no row of numbers", "at least one", "check the files");
  }
  return std::make_shared<TableSource>(table, choose(table, config, demand), demand);
}

/// The samples [first, last) of another source.
class PartSource final : public Source {
 public:
  PartSource(std::shared_ptr<Source const> all, std::int64_t first, std::int64_t last)
      : all_(std::move(all)), first_(first), last_(last) {}
  std::int64_t samples() const override { return last_ - first_; }
  std::vector<Field> fields() const override { return all_->fields(); }
  void fill(std::int64_t sample, std::span<void* const> to) const override { all_->fill(first_ + sample, to); }

 private:
  std::shared_ptr<Source const> all_;
  std::int64_t first_, last_;
};

std::int64_t held_out(std::int64_t samples, double fraction) {
  if (fraction == 0) return 0;
  return std::clamp<std::int64_t>(std::llround(static_cast<double>(samples) * fraction), 1,
                                  std::max<std::int64_t>(1, samples - 1));
}

}  // namespace

std::vector<Field> number_fields(Demand const& demand) {
  std::vector<Field> fields{{.name = "x", .sample = {DType::f32, {demand.features}}}};
  if (!demand.values) {
    fields.push_back({.name = "y", .sample = {DType::i32, {}}, .padding = 0xff});
    return fields;
  }
  fields.push_back({.name = "y", .sample = {DType::f32, {demand.outputs}}});
  fields.push_back({.name = "counted", .sample = {DType::i32, {}}, .padding = 0xff});
  return fields;
}

Sources split_off(std::shared_ptr<Source const> const& all, double fraction, std::string const& what) {
  auto const samples = all->samples(), held = held_out(samples, fraction);
  if (held >= samples) {
    fail({.code = "data.valid.short",
          .subject = text("data.valid_fraction = ", fraction, " of ", what),
          .found = "one sample in all",
          .expected = "at least two: one to train on, one to hold out",
          .fix = "add data, or give data.valid files of their own"});
  }
  Sources sources;
  sources.train = std::make_unique<PartSource>(all, 0, samples - held);
  if (held > 0) sources.valid = std::make_unique<PartSource>(all, samples - held, samples);
  return sources;
}

Sources open_table(config::Data const& config, Demand const& demand) {
  if (demand.features < 1 || demand.outputs < 1) {
    refuse("model", "data of kind table", "a model over tokens", "a model over numbers: kind = \"layers\"",
           "take data of kind tokens or text, or another model");
  }
  auto const train = open_files(config.train, "data.train", config, demand);
  auto const valid = config.valid.empty() ? nullptr : open_files(config.valid, "data.valid", config, demand);
  if (config.normalise == "standard") {
    auto const moments = train->moments(train->samples() - held_out(train->samples(), config.valid_fraction));
    train->normalise(moments);
    if (valid) valid->normalise(moments);
  }
  auto sources = split_off(train, config.valid_fraction, join(config.train));
  if (valid) sources.valid = std::make_unique<PartSource>(valid, 0, valid->samples());
  return sources;
}

}  // namespace lamina::data::detail
