#include <algorithm>
#include <array>
#include <cmath>

#include "lamina/base/text.hpp"
#include "lamina/train/schedule.hpp"
#include "train/detail/loop.hpp"

namespace lamina::train::detail {

namespace {

data::Portion portion_of(Session& session) {
  auto const work = plan::replica_work(session.plan(), static_cast<int>(session.world().rank()));
  return {.global = session.config().batch.global,
          .first = work.first_sample,
          .count = work.samples,
          .micro_batches = work.micro_batches};
}

}  // namespace

Stepper::Stepper(Session& session, data::Source const& source, std::int64_t origin)
    : session_(session),
      feeder_(source, portion_of(session), session.config().batch.micro, session.config().data.shuffle,
              session.config().run.seed, origin),
      loss_(session.loss("loss")) {
  auto const& executor = session.executor();
  inputs_.resize(static_cast<std::size_t>(feeder_.portion().micro_batches));
  for (std::size_t m = 0; m < inputs_.size(); ++m) {
    for (auto const& field : source.fields()) {
      auto const name = text(field.name, '.', m);  // a rank that has another part of the model has no such input
      bool const here = executor.set().shape->find_buffer(name, Role::input) >= 0;
      inputs_[m].push_back(here ? executor.buffer(name, Role::input).data : nullptr);
    }
  }
}

StepResult Stepper::run(std::int64_t step, int stop) {
  auto const start = std::chrono::steady_clock::now();
  auto const& config = session_.config();
  auto& executor = session_.executor();
  for (std::size_t m = 0; m < inputs_.size(); ++m) feeder_.read(step, static_cast<std::int64_t>(m), inputs_[m]);
  auto* rng = executor.buffer("rng", Role::input).as<std::int64_t>();
  rng[0] = config.run.seed, rng[1] = step, rng[2] = feeder_.portion().first;
  executor.run("forward_backward");

  StepResult r;
  r.exposed_s = executor.exposed_communication_seconds();
  auto const* norm = executor.buffer("norm", Role::output).as<double>();
  // The one point of a step where all ranks agree: everything below reads only these sums.
  bool const exact = executor.buffer("norm", Role::output).spec.count() == 4;  // a sum in three pieces
  std::array<double, 8> sums{loss_ ? loss_[0] : 0.0,
                             loss_ ? loss_[1] : 0.0,
                             norm[0],
                             norm[1],
                             stop == deadline_stop ? 1.0 : 0.0,
                             stop != 0 && stop != deadline_stop ? 1.0 : 0.0,
                             exact ? norm[2] : 0.0,
                             exact ? norm[3] : 0.0};
  session_.sum_over_ranks(sums.data(), static_cast<int>(sums.size()));
  sums[2] = (sums[2] + sums[6]) + sums[7];
  r.targets = static_cast<std::int64_t>(sums[1]);
  r.loss = sums[0] / sums[1];
  r.grad_norm = std::sqrt(sums[2]) / sums[1];
  r.stop = sums[5] > 0 ? std::max(stop, 1) : sums[4] > 0 ? deadline_stop : 0;
  r.finite = sums[3] == 0 && std::isfinite(sums[0]) && std::isfinite(sums[2]);
  r.lr = learning_rate(config, step);
  bool const skip_broken = config.guard.policy == "skip" || config.guard.policy == "stop";
  r.updated = r.targets > 0 && (r.finite || !skip_broken);
  if (!r.updated) {
    r.step_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return r;
  }
  auto const clip = config.optimizer.clip_norm;
  // torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1.
  double const factor = clip > 0 ? std::min(1.0, clip / (r.grad_norm + 1e-6)) : 1.0;
  auto* hyper = executor.buffer("hyper", Role::input).as<double>();
  hyper[0] = r.lr, hyper[1] = static_cast<double>(step), hyper[2] = factor / sums[1], hyper[3] = 0;
  executor.run("update");
  r.step_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return r;
}

}  // namespace lamina::train::detail
