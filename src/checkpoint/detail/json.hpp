#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

/// JSON from files that may be damaged or hostile: bounded depth, no duplicate keys, every complaint with its place.
namespace lamina::checkpoint::detail {

/// Who complains: the prefix of error codes and the file.
struct JsonSource {
  std::string code;  ///< "checkpoint.manifest": errors are code + ".json", ".duplicate_key", ".field"
  std::string file;
  std::int64_t begin = 0;  ///< byte of the file where the JSON text begins
  std::string fix;
};

/// Parses with the byte offset in every error. `places`, when given, receives for each key of the outermost object the
/// byte of the file just behind the key.
nlohmann::json parse_json(JsonSource const& source, std::string_view text,
                          std::map<std::string, std::int64_t>* places = nullptr);

/// Typed access to the members of an object; `path` ("tensors[3]") is the place that errors name.
class Fields {
 public:
  Fields(JsonSource const& source, nlohmann::json const& value, std::string path);

  bool has(char const* key) const { return object_.contains(key); }
  std::int64_t integer(char const* key, std::int64_t min, std::int64_t max) const;
  std::string const& string(char const* key) const;
  bool boolean(char const* key) const;
  nlohmann::json const& array(char const* key) const;
  nlohmann::json const& object(char const* key) const;
  /// Error code + ".field" at a member of this object.
  [[noreturn]] void refuse(std::string const& key, std::string const& found, std::string const& expected) const;
  std::string const& path() const { return path_; }

 private:
  nlohmann::json const& member(char const* key, char const* expected) const;
  JsonSource const& source_;
  nlohmann::json const& object_;
  std::string path_;
};

/// An integer of a JSON array element, or nothing.
bool is_integer_in(nlohmann::json const& value, std::int64_t min, std::int64_t max);

}  // namespace lamina::checkpoint::detail
