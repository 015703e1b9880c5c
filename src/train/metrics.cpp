#include "lamina/train/metrics.hpp"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/train/run_directory.hpp"
#include "train/detail/event_file.hpp"

namespace lamina::train {
namespace {

using nlohmann::ordered_json;

ordered_json number(double x) { return std::isfinite(x) ? ordered_json(x) : ordered_json(nullptr); }

/// Lines of steps up to `last`; others, and what is no JSON object with a step, are dropped.
void cut_after(std::string const& path, std::int64_t last) {
  std::ifstream in(path);
  if (!in) return;
  std::string kept, line;
  bool dropped = false;
  while (std::getline(in, line)) {
    auto const entry = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    bool const keep = entry.is_object() && entry.contains("step") && entry["step"].is_number_integer() &&
                      entry["step"].get<std::int64_t>() <= last;
    if (keep) {
      kept += line + "\n";
    } else {
      dropped = true;
    }
  }
  if (dropped) write_atomically(path, kept);
}

}  // namespace

struct MetricsLog::Impl {
  std::string path;
  std::FILE* file = nullptr;
  std::unique_ptr<detail::EventFile> events;

  ~Impl() {
    if (file) std::fclose(file);
  }
  void line(ordered_json const& object) const {
    auto const s = object.dump() + "\n";
    if (std::fwrite(s.data(), 1, s.size(), file) != s.size() || std::fflush(file) != 0) {
      fail({.code = "io.run_dir.write",
            .subject = text("metrics file '", path, "'"),
            .found = std::strerror(errno),
            .expected = "room for a line",
            .fix = "free space; the run resumes from its last checkpoint"});
    }
  }
};

MetricsLog::MetricsLog(std::string const& run_dir, std::int64_t resumed_step, bool tensorboard) : impl_(new Impl) {
  impl_->path = run_dir + "/metrics.jsonl";
  cut_after(impl_->path, resumed_step);
  impl_->file = std::fopen(impl_->path.c_str(), "a");
  if (!impl_->file) {
    fail({.code = "io.run_dir.open",
          .subject = text("metrics file '", impl_->path, "'"),
          .found = std::strerror(errno),
          .expected = "a file that can be appended to",
          .fix = "check run.dir and its permissions"});
  }
  if (tensorboard) impl_->events = std::make_unique<detail::EventFile>(run_dir + "/tensorboard");
}

MetricsLog::~MetricsLog() = default;

void MetricsLog::write(StepMetrics const& m) {
  impl_->line({{"step", m.step},
               {"loss", m.has_loss ? number(m.loss) : ordered_json(nullptr)},
               {"grad_norm", number(m.grad_norm)},
               {"lr", m.lr},
               {"tokens", m.tokens},
               {"step_s", m.step_s},
               {"tokens_per_s", m.tokens_per_s},
               {"mfu", m.mfu},
               {"exposed_comm_s", m.exposed_comm_s},
               {"peak_bytes", m.peak_bytes}});
  if (!impl_->events) return;
  auto const f = [](double x) { return static_cast<float>(x); };
  impl_->events->scalars(m.step, {{"loss", f(m.loss)},
                                  {"grad_norm", f(m.grad_norm)},
                                  {"lr", f(m.lr)},
                                  {"tokens_per_s", f(m.tokens_per_s)},
                                  {"step_s", f(m.step_s)},
                                  {"mfu", f(m.mfu)}});
}

void MetricsLog::write_evaluation(std::int64_t step, double valid_loss, std::optional<double> valid_accuracy) {
  ordered_json line{{"step", step}, {"valid_loss", number(valid_loss)}};
  if (valid_accuracy) line["valid_accuracy"] = number(*valid_accuracy);
  impl_->line(line);
  if (!impl_->events) return;
  impl_->events->scalars(step, {{"valid_loss", static_cast<float>(valid_loss)}});
  if (valid_accuracy) impl_->events->scalars(step, {{"valid_accuracy", static_cast<float>(*valid_accuracy)}});
}

}  // namespace lamina::train
