#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Quantities as people write them. The parsers want a unit, because a bare 30 has already been read as seconds
/// and as minutes by two people.
namespace lamina {

/// Bytes of "64 MiB", "8GiB", "1.5 GB", "512 B". Ki, Mi, Gi, Ti, Pi are powers of 1024; k, M, G, T, P of 1000.
/// Rounded to whole bytes.
/// @throws Error "base.units.number" (no number in front), "base.units.missing" (no unit), "base.units.unknown"
/// (another unit; the message names the nearest), "base.units.range" (negative, or 2^62 and more).
std::int64_t parse_bytes(std::string_view s);

/// Seconds of "30 s", "10 min", "2h", "250 ms", "10 us", "1 d". Errors as parse_bytes; the range is 0 to 10,000 years.
double parse_seconds(std::string_view s);

/// The largest unit that needs no fraction: "25 MiB", "1000 B"; parse_bytes(exact_bytes(n)) == n.
std::string exact_bytes(std::int64_t bytes);
/// "10 min", "2 h", "0.25 s"; parse_seconds(exact_seconds(x)) == x for every x that parse_seconds accepts.
std::string exact_seconds(double seconds);

/// Three significant digits, for people: "512 B", "1.50 KiB", "11.2 GiB".
std::string human_bytes(std::int64_t bytes);
/// "3.20 us", "12.5 s", "2 min 05 s", "3 h 20 min", "2 d 3 h".
std::string human_seconds(double seconds);
/// "999", "12.3 k", "124 M", "1.50 G".
std::string human_count(double count);

}  // namespace lamina
