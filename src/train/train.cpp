#include "lamina/train/train.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>
#include <utility>

#include "lamina/base/hash.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/data/tokenizer.hpp"
#include "lamina/kernels/bench_gemm.hpp"
#include "lamina/train/agree.hpp"
#include "lamina/train/environment.hpp"
#include "lamina/train/evaluate.hpp"
#include "lamina/train/resume.hpp"
#include "lamina/train/signals.hpp"
#include "lamina/train/trace.hpp"
#include "train/detail/loop.hpp"

namespace lamina::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

/// Everything that lives as long as the loop. Files are rank 0's.
class Loop {
 public:
  Loop(config::RunConfig const& config, comm::Communicator world, TrainOptions const& options)
      : config_(config), world_(std::move(world)), options_(options) {
    for (auto const& r : options.registered) custom_.push_back({.kind = r.kind, .keys = r.keys});
  }

  ExitCode run();

 private:
  bool lead() const { return world_.rank() == 0; }
  std::int64_t goal() const {
    return options_.stop_after_step > 0 ? std::min(options_.stop_after_step, config_.run.steps) : config_.run.steps;
  }
  void open_directory();
  /// False when a signal asked to stop before there was anything to do.
  bool start_or_resume();
  ExitCode steps();
  /// Collective: a signal that any rank has seen so far.
  bool is_asked_to_stop() { return world_.all_max(StopSignals::received()) > 0; }
  ExitCode stopped(std::string const& why);
  void log_step(std::int64_t step, detail::StepResult const& r);
  void check_numbers(std::int64_t step, detail::StepResult const& r);
  void evaluate_now(std::int64_t step);
  void write_trace_of(std::int64_t step);
  void save(std::int64_t step, bool last);
  bool save_is_due(std::int64_t step);
  void status(char const* state, ExitCode code, std::string const& reason) {
    if (directory_ && !is_earlier_there_) directory_->write_status(state, code, reason, step_, 0);
  }
  /// A status that cannot be written must not hide why the run failed.
  void failed(ExitCode code, std::string const& reason) {
    try {
      if (lead()) return status("failed", code, reason);
      if (is_earlier_there_) return;
      // What all ranks met is rank 0's to write; if it hangs, waiting for this rank, its file still says "running".
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      write_failure(config_.run.dir, code, reason, step_, static_cast<int>(world_.rank()));
    } catch (Error const& e) {
      log::warn("status.json still says that the run goes on: ", e.info().found);
    }
  }
  /// The step in status.json follows the run, without a write to the disk in every short step.
  void tell_progress() {
    if (seconds_since(last_status_) < 10) return;
    last_status_ = Clock::now();
    try {
      status("running", ExitCode::ok, "");
    } catch (Error const& e) {
      log::warn("status.json stays behind the run: ", e.info().found);
    }
  }

  config::RunConfig config_;
  comm::Communicator world_;
  TrainOptions const& options_;
  std::vector<config::CustomModel> custom_;
  Clock::time_point const started_ = Clock::now();
  Clock::time_point last_save_ = Clock::now(), last_status_ = Clock::now();
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<MetricsLog> metrics_;
  std::unique_ptr<Session> session_;
  data::Sources sources_;
  std::string tokenizer_hash_;
  std::int64_t step_ = 0, tokens_ = 0, saved_step_ = -1;
  std::int64_t data_origin_ = 0;  // of the feeder: samples already used, less those that steps of this size would use
  double peak_flops_ = 0;
  bool advised_ = false;  // how often to save
  /// --fresh, before the earlier run is moved: a run that cannot start leaves it as it is. On all ranks alike.
  bool is_earlier_there_ = false;
};

void Loop::open_directory() {
  on_lead(world_, [&] {
    directory_ = std::make_unique<RunDirectory>(config_.run.dir);
    log::info("run directory ", directory_->path(), ", training data ",
              config_.data.kind == "synthetic" ? std::string("synthetic") : join(config_.data.train));
  });
  is_earlier_there_ = world_.all_max(options_.fresh && directory_ && directory_->existed() ? 1 : 0) > 0;
}

bool Loop::start_or_resume() {
  // Only rank 0's hash goes into the manifest; a node with another copy of the file is refused by its own comparison.
  if (config_.data.kind == "text") tokenizer_hash_ = data::tokenizer_hash(config_.data.tokenizer);
  auto const earlier = options_.fresh ? checkpoint::Found{} : checkpoint::peek(config_.run.dir, -1);
  if (earlier.any) {
    auto const changes = check_resume(config::parse(earlier.state.config, earlier.directory + "/config", {}, custom_),
                                      config_, {.before = earlier.state.tokenizer_hash, .now = tokenizer_hash_});
    if (lead()) {
      for (auto const& change : changes.accepted) log::info(change);
      for (auto const& change : changes.warnings) log::warn(change);
    }
  }
  if (is_asked_to_stop()) {  // before the memory and the checkpoint, which can take a while
    if (earlier.any) step_ = earlier.state.step;
    return false;
  }
  Session::Options const options{
      .purpose = plan::Purpose::train, .registered = options_.registered, .generate = {}, .threads = options_.threads};
  session_ = std::make_unique<Session>(config_, world_, options);
  if (lead()) {
    log::info(
        session_->parameter_count(), " parameters, ", config::micro_batches(config_), " x ", config_.batch.micro,
        config_.batch.shares.empty() ? " samples per replica and step" : " samples on the busiest replica in a step",
        ", planned peak ", human_bytes(plan::peak_bytes(session_->plan())), " a rank");
    if (config_.run.determinism == "canonical") {
      log::info("run.determinism = \"canonical\": the same bits on every mesh, in steps of about ten times as long");
    }
  }
  auto const found = options_.fresh ? checkpoint::Found{} : session_->load(config_.run.dir, -1);
  if (lead()) {
    for (auto const& reason : found.skipped) log::warn("skipped a damaged checkpoint: ", reason);
  }
  if (found.any) {
    step_ = found.state.step, tokens_ = found.state.tokens, saved_step_ = step_;
    data_origin_ = found.state.data_position - step_ * config_.batch.global;
    if (lead()) log::info("resuming after step ", step_, " from ", found.directory);
  } else {
    session_->initialise();
  }
  return true;
}

void Loop::log_step(std::int64_t step, detail::StepResult const& r) {
  if (!lead() || step % config_.log.every_steps != 0) return;
  auto const per_second = static_cast<double>(r.targets) / r.step_s;
  StepMetrics const m{.step = step,
                      .loss = r.loss,
                      .grad_norm = r.grad_norm,
                      .lr = r.lr,
                      .tokens = tokens_,
                      .step_s = r.step_s,
                      .tokens_per_s = per_second,
                      .mfu = per_second * session_->flops_per_token() / (peak_flops_ * world_.size()),
                      .exposed_comm_s = r.exposed_s,
                      .peak_bytes = peak_resident_bytes(),
                      .has_loss = r.targets > 0};
  metrics_->write(m);
  char line[160];
  std::snprintf(line, sizeof line, "step %lld/%lld  loss %.4f  norm %.3f  lr %.2e  %.0f %s/s  %.0f ms  mfu %.2f",
                static_cast<long long>(step), static_cast<long long>(goal()), r.loss, r.grad_norm, r.lr, per_second,
                config_.model.kind == "layers" ? "samples" : "tokens", r.step_s * 1e3, m.mfu);
  log::progress(line, step == goal());
}

void Loop::check_numbers(std::int64_t step, detail::StepResult const& r) {
  if (r.targets == 0 || r.finite) return;
  auto const found = text("loss ", r.loss, ", gradient norm ", r.grad_norm);
  if (config_.guard.policy == "stop") {
    fail({.code = "train.numerics.not_finite",
          .subject = text("step ", step, " of ", config_.run.dir),
          .found = found,
          .expected = "a finite loss and finite gradients",
          .fix = text("the weights are those before the step; ",
                      saved_step_ < 0 ? std::string("there is no checkpoint")
                                      : text("the last checkpoint is step ", saved_step_),
                      ". Lower optimizer.lr, lengthen lr_schedule.warmup_steps, or set guard.policy = \"skip\"")});
  }
  if (lead())
    log::warn("step ", step, ": ", found,
              r.updated ? "; updated all the same (guard.policy = warn)" : "; skipped the update");
}

void Loop::evaluate_now(std::int64_t step) {
  if (!sources_.valid) return;
  auto const e = evaluate(*session_, *sources_.valid, config_.eval.batches * config_.batch.global);
  if (!lead()) return;
  metrics_->write_evaluation(step, e.loss, e.accuracy);
  char line[128], accuracy[48] = "";
  if (e.accuracy) std::snprintf(accuracy, sizeof accuracy, "  valid_accuracy %.4f", *e.accuracy);
  std::snprintf(line, sizeof line, "step %lld  valid_loss %.4f%s over %lld targets", static_cast<long long>(step),
                e.loss, accuracy, static_cast<long long>(e.targets));
  log::info(line);
}

void Loop::write_trace_of(std::int64_t step) {
  auto const rank = static_cast<std::size_t>(world_.rank());
  auto const host = rank < options_.hosts.size() ? options_.hosts[rank] : std::string();
  write_trace(session_->executor(), world_, host, config_.run.dir, step);
}

bool Loop::save_is_due(std::int64_t step) {
  auto const& c = config_.checkpoint;
  bool due = c.every_steps > 0 && step % c.every_steps == 0;
  // Clocks differ between ranks: rank 0 decides.
  if (c.every_seconds > 0) due = due || world_.all_max(lead() && seconds_since(last_save_) >= c.every_seconds) > 0;
  return due;
}

void Loop::save(std::int64_t step, bool last) {
  if (saved_step_ == step || !options_.checkpoints) return;
  checkpoint::State const state{
      .step = step,
      .tokens = tokens_,
      .seed = config_.run.seed,
      .data_position = data_origin_ + step * config_.batch.global,
      .config = config::print(config_, custom_),
      .layout = text("dp=", config_.mesh.dp, " tp=", config_.mesh.tp, " pp=", config_.mesh.pp),
      .tokenizer_hash = tokenizer_hash_};
  checkpoint::Options const options{
      .files = config_.checkpoint.files, .keep = config_.checkpoint.keep, .keep_every = config_.checkpoint.keep_every};
  try {
    auto const report = checkpoint::save(config_.run.dir, state, session_->owned_pieces(), options, world_);
    saved_step_ = step, last_save_ = Clock::now();
    if (lead()) {
      for (auto const& warning : report.warnings) log::warn(warning);
      log::info("checkpoint of step ", step, ": ", human_bytes(report.bytes), " in ", human_seconds(report.seconds));
      if (!std::exchange(advised_, true)) {
        constexpr double a_day = 86400;
        log::info("one failure a day would make checkpoints every ",
                  human_seconds(checkpoint::suggested_interval_s(report.seconds, a_day)),
                  " the best (Young's formula)");
      }
    }
  } catch (Error const& e) {
    if (last || config_.checkpoint.on_save_error == "stop") throw;
    if (lead())
      log::warn("the checkpoint of step ", step, " failed, training goes on (checkpoint.on_save_error)\n", e.what());
  }
}

ExitCode Loop::stopped(std::string const& why) {
  if (lead()) {
    log::info("stopped by ", why, step_ > 0 ? text(" after step ", step_) : std::string(" before the first step"),
              "; start again with the same run file to go on");
  }
  status("stopped", ExitCode::stopped_early, why);
  return ExitCode::stopped_early;
}

ExitCode Loop::steps() {
  detail::Stepper stepper(*session_, *sources_.train, data_origin_);
  while (step_ < goal()) {
    bool const traced = std::ranges::count(config_.log.trace_steps, step_ + 1) > 0;
    if (traced) session_->executor().enable_trace(true);
    bool const late = options_.max_hours > 0 && seconds_since(started_) > options_.max_hours * 3600;
    auto const r = stepper.run(step_ + 1, StopSignals::received() != 0 ? StopSignals::received()
                                          : late                       ? detail::deadline_stop
                                                                       : 0);
    if (traced) {
      write_trace_of(step_ + 1);
      session_->executor().enable_trace(false);
    }
    check_numbers(step_ + 1, r);
    ++step_;
    tokens_ += r.targets;
    log_step(step_, r);
    if (lead()) tell_progress();
    if (config_.eval.every_steps > 0 && step_ % config_.eval.every_steps == 0) evaluate_now(step_);
    if (r.stop != 0 && step_ < goal()) {
      save(step_, true);
      auto const why =
          r.stop == detail::deadline_stop ? std::string("the deadline of --max-hours") : std::string("a signal");
      return stopped(why);
    }
    if (step_ < goal() && save_is_due(step_)) save(step_, false);
  }
  save(step_, true);
  status("done", ExitCode::ok, step_ < config_.run.steps ? "reached --steps" : "reached run.steps");
  return ExitCode::ok;
}

ExitCode Loop::run() {
  StopSignals const signals;  // of a caller who has none; lamina train has them from its start
  open_directory();
  try {
    on_lead(world_, [&] { status("running", ExitCode::ok, ""); });
    if (!start_or_resume()) return stopped("a signal");
    if (step_ >= goal()) {
      if (lead()) {
        log::info("nothing to do: ", config_.run.dir, " is at step ", step_, " of ", config_.run.steps,
                  "; raise run.steps (or --steps) to go on, or start anew with --fresh");
      }
      status("done", ExitCode::ok, "reached run.steps");
      return ExitCode::ok;
    }
    sources_ = open_data(config_);
    peak_flops_ =
        1e9 * kernels::measure_peak_gflops(config_.precision.compute == "bf16" ? DType::bf16 : DType::f32, 0.02);
    if (peak_flops_ <= 0) peak_flops_ = 1e9 * kernels::measure_peak_gflops(DType::f32, 0.02);
    if (is_earlier_there_) {  // now that nothing more can be refused
      on_lead(world_, [&] {
        if (auto const aside = directory_->move_aside(); !aside.empty()) log::info("moved the earlier run to ", aside);
      });
      is_earlier_there_ = false;
    }
    on_lead(world_, [&] {
      status("running", ExitCode::ok, "");  // with the step that it goes on from
      directory_->write_config(config::print(config_, custom_));
      directory_->write_record(options_.command_line, options_.hosts, hex(session_->plan_hash()));
      metrics_ = std::make_unique<MetricsLog>(directory_->path(), step_, config_.log.tensorboard);
    });
    // Nothing has changed since the checkpoint that was resumed, or since the start: there is nothing to save.
    if (is_asked_to_stop()) return stopped("a signal");
    return steps();
  } catch (Error const& e) {
    failed(e.exit_code(), text(e.info().code, ": ", e.info().subject, ": ", e.info().found));
    throw;
  } catch (std::exception const& e) {
    failed(as_error(e).exit_code(), e.what());
    throw;
  }
}

}  // namespace

ExitCode train(config::RunConfig const& config, comm::Communicator world, TrainOptions const& options) {
  return Loop(config, std::move(world), options).run();
}

}  // namespace lamina::train
