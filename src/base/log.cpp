#include "lamina/base/log.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace lamina::log {
namespace {

constexpr double redraw_s = 0.1, plain_s = 10;

void write_standard_error(std::string_view s) {
  while (!s.empty()) {
    auto const n = ::write(STDERR_FILENO, s.data(), s.size());
    if (n < 0 && errno != EINTR) return;  // nobody is left to tell
    if (n > 0) s.remove_prefix(static_cast<std::size_t>(n));
  }
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Control characters of file names and other people's messages must not move the cursor.
std::string printable(std::string_view s, bool keep_newlines) {
  std::string r(s);
  for (char& c : r) {
    auto const u = static_cast<unsigned char>(c);
    if ((u < 32 && !(keep_newlines && c == '\n') && c != '\t') || u == 127) c = '?';
  }
  return r;
}

// At most `columns` characters; a UTF-8 sequence is never cut.
std::string cut(std::string s, std::size_t columns) {
  std::size_t seen = 0, i = 0;
  for (; i < s.size(); ++i) {
    bool const starts = (static_cast<unsigned char>(s[i]) & 0xC0) != 0x80;
    if (starts && seen++ == columns) break;
  }
  s.resize(i);
  return s;
}

std::size_t width(std::string_view s) {
  return static_cast<std::size_t>(
      std::ranges::count_if(s, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

Sink standard_error() {
  auto const* const term = std::getenv("TERM");
  auto const* const no_color = std::getenv("NO_COLOR");
  Sink sink;
  sink.terminal = ::isatty(STDERR_FILENO) == 1 && !(term && std::string_view(term) == "dumb");
  sink.colour = sink.terminal && !(no_color && *no_color);
  winsize size{};
  if (sink.terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) sink.columns = size.ws_col;
  return sink;
}

struct Logger::State {
  Sink sink;
  std::mutex mutex;
  int rank = 0, world = 1;
  Level level = Level::info;
  std::size_t drawn = 0;  // characters of the progress line on the terminal
  std::string current;    // the progress line, drawn again below a message
  double last_shown = -1e300;

  void write(std::string_view s) const { sink.write ? sink.write(s) : write_standard_error(s); }
  double now() const { return sink.seconds ? sink.seconds() : steady_seconds(); }

  // Blanks instead of an escape sequence: works without colours as well.
  std::string erase() {
    if (drawn == 0) return "";
    auto const blanks = text('\r', std::string(drawn, ' '), '\r');
    drawn = 0;
    return blanks;
  }
  std::string draw(std::string_view line) {
    auto const length = width(line);
    std::string const rest(drawn > length ? drawn - length : 0, ' ');
    drawn = length;
    return text('\r', line, rest);
  }
};

Logger::Logger(Sink sink) : state_(std::make_unique<State>()) { state_->sink = std::move(sink); }
Logger::~Logger() = default;

void Logger::set_rank(int rank, int world) {
  std::scoped_lock const lock(state_->mutex);
  state_->rank = rank, state_->world = world;
}

void Logger::set_level(Level level) {
  std::scoped_lock const lock(state_->mutex);
  state_->level = level;
}

void Logger::message(Level level, std::string_view line) {
  State& s = *state_;
  std::scoped_lock const lock(s.mutex);
  if (level < s.level || (level < Level::warn && s.rank != 0)) return;
  std::string out;
  if (s.world > 1 && level >= Level::warn) out = text("[rank ", s.rank, "] ");
  if (level == Level::warn) out += s.sink.colour ? "\x1b[33mwarning:\x1b[0m " : "warning: ";
  if (level == Level::error && s.sink.colour) out += "\x1b[31m";
  out += printable(line, true);
  if (level == Level::error && s.sink.colour) out += "\x1b[0m";
  auto const below = s.drawn > 0 ? s.current : "";
  out = s.erase() + out + "\n";
  if (!below.empty()) out += s.draw(below);
  s.write(out);
}

void Logger::progress(std::string_view line, bool last) {
  State& s = *state_;
  std::scoped_lock const lock(s.mutex);
  if (s.rank != 0 || Level::info < s.level) return;
  double const now = s.now();
  if (!last && now - s.last_shown < (s.sink.terminal ? redraw_s : plain_s)) return;
  s.last_shown = last ? -1e300 : now;
  auto const clean = printable(line, false);
  if (!s.sink.terminal) return s.write(clean + "\n");
  s.current = cut(clean, static_cast<std::size_t>(std::max(s.sink.columns - 1, 1)));
  auto out = s.draw(s.current);
  if (last) out += "\n", s.drawn = 0, s.current.clear();
  s.write(out);
}

Logger& logger() {
  static Logger instance(standard_error());
  return instance;
}

}  // namespace lamina::log
