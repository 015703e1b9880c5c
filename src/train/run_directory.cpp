#include "lamina/train/run_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lamina/base/text.hpp"
#include "lamina/base/version.hpp"
#include "lamina/train/environment.hpp"

extern char** environ;

namespace lamina::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

[[noreturn]] void fail_io(char const* call, std::string const& path) {
  fail({.code = text("io.run_dir.", call),
        .subject = text("run directory file '", path, "'"),
        .found = std::strerror(errno),
        .expected = "a directory that can be written and has room",
        .fix = "check permissions, quota and free space, or choose another run.dir"});
}

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string now_text() {
  auto const now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> out{};
  std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return out.data();
}

ordered_json read_json(std::string const& path) {
  std::ifstream in(path);
  return ordered_json::parse(in, nullptr, /*allow_exceptions=*/false);
}

/// Names of files and values of variables may be no UTF-8: what is not is replaced.
void write_json(std::string const& path, ordered_json const& value) {
  write_atomically(path, value.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace

void write_atomically(std::string const& path, std::string const& content) {
  auto const temporary = text(path, ".", ::getpid(), ".part");
  auto const give_up = [&](char const* call) {
    auto const code = errno;
    ::unlink(temporary.c_str());
    errno = code;
    fail_io(call, path);
  };
  int const file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) fail_io("open", path);
  for (std::size_t done = 0; done < content.size();) {
    auto const n = ::write(file, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      ::close(file);
      give_up("write");
    }
    done += static_cast<std::size_t>(n);
  }
  bool const synced = ::fsync(file) == 0;
  if (::close(file) != 0 || !synced) give_up("fsync");
  if (std::rename(temporary.c_str(), path.c_str()) != 0) give_up("rename");
  int const folder = ::open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) ::fsync(folder), ::close(folder);
}

RunDirectory::RunDirectory(std::string path) : path_(fs::absolute(std::move(path)).lexically_normal().string()) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  create_and_lock();
  existed_ = fs::exists(path_ + "/record.json") || fs::exists(path_ + "/checkpoints");
}

void RunDirectory::create_and_lock() {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) errno = error.value(), fail_io("create", path_);
  auto const name = path_ + "/lock";
  lock_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) fail_io("lock", name);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    std::array<char, 512> owner{};
    auto const n = ::pread(lock_, owner.data(), owner.size() - 1, 0);
    ::close(std::exchange(lock_, -1));
    fail({.code = "train.run_dir.locked",
          .subject = text("run directory '", path_, "'"),
          .found = n > 0 ? text("in use by ", trim(owner.data())) : std::string("in use by another job"),
          .expected = "one job per run directory",
          .fix = "wait for the other job, stop it, or choose another run.dir"});
  }
  auto const owner = text("host ", host_name(), ", process ", ::getpid(),
                          std::getenv("SLURM_JOB_ID") ? text(", Slurm job ", std::getenv("SLURM_JOB_ID")) : "", "\n");
  if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, owner.data(), owner.size(), 0) < 0) fail_io("lock", name);
}

std::string RunDirectory::move_aside() {
  if (!existed_) return "";
  int number = 1;
  while (fs::exists(text(path_, ".", number))) ++number;
  auto const aside = text(path_, ".", number);
  if (std::rename(path_.c_str(), aside.c_str()) != 0) fail_io("rename", path_);
  ::close(std::exchange(lock_, -1));
  create_and_lock();
  existed_ = false;
  return aside;
}

RunDirectory::~RunDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

void RunDirectory::write_config(std::string const& text_of_file) const {
  write_atomically(path_ + "/config.toml", text_of_file);
}

void RunDirectory::write_record(std::vector<std::string> const& command_line, std::vector<std::string> const& hosts,
                                std::string const& plan_hash) const {
  auto const file = path_ + "/record.json";
  auto record = read_json(file);
  if (!record.is_object() || !record.contains("starts")) record = ordered_json{{"starts", ordered_json::array()}};
  ordered_json slurm = ordered_json::object();
  for (char** variable = environ; *variable; ++variable) {
    std::string_view const entry = *variable;
    if (entry.starts_with("SLURM_"))
      slurm[std::string(entry.substr(0, entry.find('=')))] = entry.substr(entry.find('=') + 1);
  }
  ordered_json versions = ordered_json::object();
  for (auto const& library : libraries()) versions[library.name] = library.version;
  auto const& build = build_information();
  record["starts"].push_back({{"time", now_text()},
                              {"command_line", command_line},
                              {"working_directory", fs::current_path().string()},
                              {"version", build.version},
                              {"git", build.git},
                              {"compiler", build.compiler},
                              {"options", build.options},
                              {"libraries", versions},
                              {"hosts", hosts},
                              {"slurm", slurm},
                              {"plan_hash", plan_hash}});
  write_json(file, record);
}

void RunDirectory::write_status(std::string const& state, ExitCode code, std::string const& reason, std::int64_t step,
                                int rank) const {
  ordered_json const status{{"state", state},   {"exit_code", static_cast<int>(code)},
                            {"reason", reason}, {"step", step},
                            {"rank", rank},     {"time", now_text()}};
  write_json(path_ + "/status.json", status);
}

void write_failure(std::string const& run_dir, ExitCode code, std::string const& reason, std::int64_t step, int rank) {
  auto const file = run_dir + "/status.json";
  auto status = read_json(file);
  if (!status.is_object() || !status.contains("state") || status["state"] != "running") return;
  status["state"] = "failed", status["exit_code"] = static_cast<int>(code);
  status["reason"] = reason, status["step"] = step, status["rank"] = rank, status["time"] = now_text();
  write_json(file, status);
}

}  // namespace lamina::train
