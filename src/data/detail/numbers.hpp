#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lamina/data/source.hpp"

/// Sources of numbers.
namespace lamina::data::detail {

/// CSV files. @throws Error "data.table.*", "data.file.*".
Sources open_table(config::Data const& config, Demand const& demand);

/// Samples that are computed when they are read, a function of (data.seed, index). @throws Error "data.synthetic.*".
Sources open_synthetic(config::Data const& config, Demand const& demand);

/// Fields x and y (and counted) as Demand says.
std::vector<Field> number_fields(Demand const& demand);

/// All samples, or the last `fraction` of them held out; `what` names the data in errors.
/// @throws Error "data.valid.short".
Sources split_off(std::shared_ptr<Source const> const& all, double fraction, std::string const& what);

/// Rows of numbers, row-major, with the place of each for messages.
struct Table {
  std::vector<std::string> header;  ///< empty: none
  std::string header_place;
  std::int64_t columns = 0;
  std::vector<double> values;
  /// Of each row: file and line.
  struct Row {
    std::int32_t file = 0;
    std::int64_t line = 0;
  };
  std::vector<Row> rows;
  std::vector<std::string> files;

  double at(std::size_t row, std::int64_t column) const {
    return values[row * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column)];
  }
  /// "data.csv:3" and the column: its number from 1 and, where there is one, its header.
  std::string place(std::size_t row, std::int64_t column) const;
};

/// Reads CSV: fields separated by commas, spaces around them and double quotes allowed; a first line that is not all
/// numbers is a header; empty lines are skipped; .gz is unpacked. @throws Error "data.table.<rule>" with
/// file:line:column (of characters).
Table read_table(std::vector<std::string> const& files);

}  // namespace lamina::data::detail
