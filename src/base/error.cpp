#include "lamina/base/error.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "lamina/base/text.hpp"

namespace lamina {
namespace {

// Longest prefix wins. What a user can fix in the run file is `usage`.
constexpr std::array<std::pair<std::string_view, ExitCode>, 39> exit_codes{{
    {"app.", ExitCode::usage},
    {"app.internal", ExitCode::internal},
    {"base.fault.", ExitCode::usage},
    {"base.units.", ExitCode::usage},
    {"bench.", ExitCode::usage},
    {"checkpoint.", ExitCode::bad_input},
    {"checkpoint.save.", ExitCode::file_system},
    {"comm.", ExitCode::peer_lost},
    {"comm.group.", ExitCode::internal},
    {"comm.world.", ExitCode::environment},
    {"config.", ExitCode::usage},
    {"data.", ExitCode::bad_input},
    {"data.write.", ExitCode::file_system},
    {"device.", ExitCode::environment},
    {"device.memory.", ExitCode::memory},
    {"graph.", ExitCode::usage},
    {"io.", ExitCode::file_system},
    {"kernels.cross_entropy.target", ExitCode::bad_input},  // a class that the model does not have
    {"kernels.embedding.id", ExitCode::bad_input},  // a token outside of the vocabulary: the data's fault
    {"kernels.exact.range", ExitCode::numerical},   // canonical mode: a sum without room, before any update
    {"kernels.head_loss.target", ExitCode::bad_input},
    {"kernels.head_loss_stats.target", ExitCode::bad_input},
    {"models.", ExitCode::usage},
    {"models.weights.", ExitCode::bad_input},
    {"plan.", ExitCode::usage},
    {"plan.memory.", ExitCode::memory},
    {"plan.mismatch.", ExitCode::environment},
    {"plan.verify.", ExitCode::internal},
    {"program.parse.", ExitCode::bad_input},
    {"runtime.environment.", ExitCode::environment},
    {"runtime.watchdog.", ExitCode::peer_lost},
    {"tensor.shape.", ExitCode::usage},
    {"train.environment.", ExitCode::environment},
    {"train.memory.", ExitCode::memory},
    {"train.numerics.", ExitCode::numerical},
    {"train.resume.", ExitCode::bad_input},
    {"train.run_dir.", ExitCode::environment},
    {"vendor.hdf5.", ExitCode::file_system},
    {"vendor.mpi.", ExitCode::peer_lost},
}};

std::string short_file(char const* file) {
  std::string_view name = file;
  for (std::string_view root : {"/src/", "/include/", "/apps/", "/tests/", "/perf/"}) {
    if (auto const at = name.rfind(root); at != name.npos) return std::string(name.substr(at + 1));
  }
  return std::string(name);
}

}  // namespace

std::string format_error(ErrorInfo const& info, std::string_view place) {
  return text("error[", info.code, "]: ", info.subject, "\n  found:    ", info.found, "\n  expected: ", info.expected,
              "\n  fix:      ", info.fix, "\n  at:       ", place);
}

ExitCode exit_code_of(std::string const& code) noexcept {
  auto best = ExitCode::internal;
  std::size_t length = 0;
  for (auto const& [prefix, exit] : exit_codes) {
    if (prefix.size() > length && code.starts_with(prefix)) best = exit, length = prefix.size();
  }
  return best;
}

Error::Error(ErrorInfo info, std::source_location at)
    : Error(std::move(info), text(short_file(at.file_name()), ":", at.line())) {}

Error::Error(ErrorInfo info, std::string place)
    : info_(std::move(info)), place_(std::move(place)), text_(format_error(info_, place_)) {}

ExitCode Error::exit_code() const noexcept { return exit_code_of(info_.code); }

void fail(ErrorInfo info, std::source_location at) { throw Error(std::move(info), at); }

void fail_if_any(std::vector<ErrorInfo> const& problems, std::source_location at) {
  if (problems.empty()) return;
  if (problems.size() == 1) fail(problems.front(), at);
  ErrorInfo all = problems.front();
  all.subject = text(problems.size(), " problems");
  std::string list;
  for (auto const& p : problems) {
    list += text("\n    [", p.code, "] ", p.subject, "\n      found:    ", p.found, "\n      expected: ", p.expected,
                 "\n      fix:      ", p.fix);
  }
  all.found = std::move(list);
  all.expected = "a run without these problems";
  all.fix = "mend each of them as its own line says";
  fail(std::move(all), at);
}

}  // namespace lamina
