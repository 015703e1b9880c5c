#include <zlib.h>

#include <charconv>
#include <cmath>
#include <string_view>

#include "data/detail/file.hpp"
#include "data/detail/numbers.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data::detail {
namespace {

/// The whole file, unpacked if it is packed: zlib reads both.
std::string read_whole(std::string const& path) {
  File const check(path);  // a missing file, a directory: said as for other data
  gzFile file = ::gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    fail({.code = "data.file.open",
          .subject = text("data file '", path, "'"),
          .found = "no memory to open it",
          .expected = "a readable file",
          .fix = "free memory on this node"});
  }
  std::string content;
  std::vector<char> block(1 << 18);
  int count = 0;
  while ((count = ::gzread(file, block.data(), static_cast<unsigned>(block.size()))) > 0) {
    content.append(block.data(), static_cast<std::size_t>(count));
  }
  int code = Z_OK;
  std::string const why = ::gzerror(file, &code);
  int const closed = ::gzclose(file);
  if (count < 0 || closed == Z_BUF_ERROR) {
    fail({.code = "data.table.gzip",
          .subject = text("data file '", path, "'"),
          .found = why.empty() ? text("a packed file that ends early, after ", content.size(), " bytes of text") : why,
          .expected = "a whole gzip file, or plain text",
          .fix = "copy or pack the file again"});
  }
  return content;
}

struct Cell {
  std::string text;
  std::int64_t column = 1;  ///< of characters, from 1
};

[[noreturn]] void refuse(std::string_view rule, std::string const& place, std::string found, std::string expected,
                         std::string fix) {
  fail({.code = text("data.table.", rule),
        .subject = text("table ", place),
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = std::move(fix)});
}

/// Fields of one line; "a ""quoted"", field" is one of them.
void split_line(std::string_view line, std::string const& place, std::vector<Cell>& cells) {
  cells.clear();
  for (std::size_t i = 0;; ++i) {
    while (i < line.size() && line[i] == ' ') ++i;
    Cell cell{.text = {}, .column = static_cast<std::int64_t>(i) + 1};
    if (i < line.size() && line[i] == '"') {
      for (++i;; ++i) {
        if (i >= line.size()) {
          refuse("quote", text(place, ':', cell.column), "a quoted field without its end", "a closing '\"'",
                 "correct the line; a field holds no line end");
        }
        if (line[i] != '"') {
          cell.text += line[i];
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          cell.text += line[i++];
        } else {
          break;
        }
      }
      ++i;
    }
    auto const comma = std::min(line.find(',', i), line.size());
    cell.text += trim(line.substr(std::min(i, line.size()), comma - std::min(i, comma)));
    cells.push_back(std::move(cell));
    i = comma;
    if (i >= line.size()) return;
  }
}

bool read_number(std::string_view s, double& value) {
  if (s.starts_with('+')) s.remove_prefix(1);
  auto const [end, code] = std::from_chars(s.data(), s.data() + s.size(), value);
  return code == std::errc() && end == s.data() + s.size();
}

class Reader {
 public:
  explicit Reader(Table& table) : table_(table) {}

  void add(std::string const& path) {
    table_.files.push_back(path);
    auto const content = read_whole(path);
    std::string_view rest = content;
    if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
    bool first = true;
    for (std::int64_t line = 1; !rest.empty(); ++line) {
      auto const end = std::min(rest.find('\n'), rest.size());
      auto row = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (row.ends_with('\r')) row.remove_suffix(1);
      if (trim(row).empty()) continue;
      place_ = text(path, ':', line);
      split_line(row, place_, cells_);
      if (!(first && take_header())) take_row(line);
      first = false;
    }
  }

 private:
  void require_columns() {
    auto const found = static_cast<std::int64_t>(cells_.size());
    if (table_.columns == 0) table_.columns = found;
    if (found == table_.columns) return;
    refuse("columns", place_, text(found, " fields"), text(table_.columns, " fields, as in the first line"),
           "correct the line; fields are separated by commas");
  }

  bool take_header() {
    double ignored = 0;
    bool numbers = true;
    for (auto const& c : cells_) numbers = numbers && read_number(c.text, ignored);
    if (numbers) return false;
    std::vector<std::string> names;
    for (auto const& c : cells_) names.push_back(c.text);
    if (!table_.header_place.empty() && names != table_.header) {
      refuse("header", place_, join(names), text(join(table_.header), ", as in ", table_.header_place),
             "give all files the same columns");
    }
    require_columns();
    table_.header = std::move(names);
    table_.header_place = place_;
    return true;
  }

  void take_row(std::int64_t line) {
    require_columns();
    for (std::size_t c = 0; c < cells_.size(); ++c) {
      double value = 0;
      if (!read_number(cells_[c].text, value) || !std::isfinite(value)) {
        auto const name = c < table_.header.size() ? text(" (", table_.header[c], ')') : std::string();
        refuse("number", text(place_, ':', cells_[c].column), text("field ", c + 1, name, " '", cells_[c].text, "'"),
               "a finite number", "correct it, or leave the row out; words are not translated into numbers");
      }
      table_.values.push_back(value);
    }
    table_.rows.push_back({.file = static_cast<std::int32_t>(table_.files.size()) - 1, .line = line});
  }

  Table& table_;
  std::string place_;
  std::vector<Cell> cells_;
};

}  // namespace

std::string Table::place(std::size_t row, std::int64_t column) const {
  auto const& r = rows[row];
  auto const c = static_cast<std::size_t>(column);
  return text(files[static_cast<std::size_t>(r.file)], ':', r.line, ", field ", column + 1,
              c < header.size() ? text(" (", header[c], ')') : std::string());
}

Table read_table(std::vector<std::string> const& files) {
  Table table;
  Reader reader(table);
  for (auto const& path : files) reader.add(path);
  return table;
}

}  // namespace lamina::data::detail
