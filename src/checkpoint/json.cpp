#include "checkpoint/detail/json.hpp"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::checkpoint::detail {
namespace {

using Json = nlohmann::json;
constexpr std::size_t deepest = 32;

/// Counts the bytes that the parser has taken.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = char const*;
  using reference = char const&;

  CountingIterator(char const* at, std::int64_t* taken) : at_(at), taken_(taken) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_, ++*taken_;
    return *this;
  }
  CountingIterator operator++(int) {
    auto const before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(CountingIterator const& a, CountingIterator const& b) { return a.at_ == b.at_; }

 private:
  char const* at_;
  std::int64_t* taken_;
};

/// Builds the value; refuses a key that its object has already.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(JsonSource const& source, std::int64_t const& taken, std::map<std::string, std::int64_t>* places)
      : source_(source), taken_(taken), places_(places) {}

  Json result;

  bool null() override { return put(nullptr); }
  bool boolean(bool x) override { return put(x); }
  bool number_integer(number_integer_t x) override { return put(x); }
  bool number_unsigned(number_unsigned_t x) override { return put(x); }
  bool number_float(number_float_t x, string_t const&) override { return put(x); }
  bool string(string_t& x) override { return put(std::move(x)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& k) override {
    auto& object = *stack_.back();
    if (object.contains(k)) {
      fail({.code = source_.code + ".duplicate_key",
            .subject = source_.file,
            .found = text("byte ", source_.begin + taken_, ": key \"", k, "\" for the second time"),
            .expected = "every key once in its object",
            .fix = source_.fix});
    }
    if (stack_.size() == 1 && places_ != nullptr) (*places_)[k] = source_.begin + taken_;
    key_ = std::move(k);
    return true;
  }

  bool parse_error(std::size_t position, std::string const&, Json::exception const& e) override {
    std::string_view reason = e.what();
    if (auto const at = reason.find("] "); at != reason.npos) reason.remove_prefix(at + 2);
    fail({.code = source_.code + ".json",
          .subject = source_.file,
          .found = text("byte ", source_.begin + static_cast<std::int64_t>(std::max<std::size_t>(position, 1)) - 1,
                        ": ", reason),
          .expected = "one JSON value in UTF-8",
          .fix = source_.fix});
  }

 private:
  Json* place(Json value) {
    if (stack_.empty()) return &(result = std::move(value));
    if (stack_.back()->is_array()) return &stack_.back()->emplace_back(std::move(value));
    return &((*stack_.back())[key_] = std::move(value));
  }
  bool put(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (stack_.size() == deepest) {
      fail({.code = source_.code + ".json",
            .subject = source_.file,
            .found = text("byte ", source_.begin + taken_, ": nested deeper than ", deepest),
            .expected = text("at most ", deepest, " levels"),
            .fix = source_.fix});
    }
    stack_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  JsonSource const& source_;
  std::int64_t const& taken_;
  std::map<std::string, std::int64_t>* places_;
  std::vector<Json*> stack_;  // stays valid: only the innermost container grows
  std::string key_;
};

}  // namespace

Json parse_json(JsonSource const& source, std::string_view s, std::map<std::string, std::int64_t>* places) {
  // The parser takes a NUL for the end and skips a byte order mark: whatever follows or precedes would go unseen.
  constexpr std::string_view mark = "\xef\xbb\xbf";
  auto const nul = s.find('\0');
  if (nul != s.npos || s.starts_with(mark)) {
    fail({.code = source.code + ".json",
          .subject = source.file,
          .found = nul != s.npos ? text("byte ", source.begin + static_cast<std::int64_t>(nul), ": a NUL")
                                 : text("byte ", source.begin, ": a byte order mark"),
          .expected = "one JSON value in UTF-8",
          .fix = source.fix});
  }
  std::int64_t taken = 0;
  Builder builder(source, taken, places);
  char const* const begin = s.data();
  Json::sax_parse(CountingIterator(begin, &taken), CountingIterator(begin + s.size(), &taken), &builder);
  return std::move(builder.result);
}

Fields::Fields(JsonSource const& source, Json const& value, std::string path)
    : source_(source), object_(value), path_(std::move(path)) {
  if (!value.is_object()) refuse("", value.type_name(), "an object");
}

void Fields::refuse(std::string const& key, std::string const& found, std::string const& expected) const {
  auto const place = key.empty() ? path_ : path_.empty() ? key : text(path_, ".", key);
  fail({.code = source_.code + ".field",
        .subject = source_.file,
        .found = text(place.empty() ? "the whole" : place, ": ", found),
        .expected = expected,
        .fix = source_.fix});
}

Json const& Fields::member(char const* key, char const* expected) const {
  auto const it = object_.find(key);
  if (it == object_.end()) refuse(key, "missing", expected);
  return *it;
}

bool is_integer_in(Json const& value, std::int64_t min, std::int64_t max) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) return false;
  return value.is_number_integer() && value.get<std::int64_t>() >= min && value.get<std::int64_t>() <= max;
}

std::int64_t Fields::integer(char const* key, std::int64_t min, std::int64_t max) const {
  auto const& value = member(key, "an integer");
  if (!is_integer_in(value, min, max))
    refuse(key, value.dump().substr(0, 80), text("an integer from ", min, " to ", max));
  return value.get<std::int64_t>();
}

std::string const& Fields::string(char const* key) const {
  auto const& value = member(key, "a string");
  if (!value.is_string()) refuse(key, value.type_name(), "a string");
  return value.get_ref<std::string const&>();
}

bool Fields::boolean(char const* key) const {
  auto const& value = member(key, "true or false");
  if (!value.is_boolean()) refuse(key, value.type_name(), "true or false");
  return value.get<bool>();
}

Json const& Fields::array(char const* key) const {
  auto const& value = member(key, "an array");
  if (!value.is_array()) refuse(key, value.type_name(), "an array");
  return value;
}

Json const& Fields::object(char const* key) const {
  auto const& value = member(key, "an object");
  if (!value.is_object()) refuse(key, value.type_name(), "an object");
  return value;
}

}  // namespace lamina::checkpoint::detail
