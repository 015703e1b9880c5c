#include "lamina/train/schedule.hpp"

#include "lamina/base/math.hpp"

namespace lamina::train {

double learning_rate(config::RunConfig const& config, std::int64_t step) {
  auto const& schedule = config.lr_schedule;
  double const lr = config.optimizer.lr;
  if (step <= schedule.warmup_steps && schedule.warmup_steps > 0) {
    return lr * static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  }
  if (schedule.kind == "constant") return lr;
  if (step >= schedule.decay_steps) return schedule.min;
  double const progress = static_cast<double>(step - schedule.warmup_steps) /
                          static_cast<double>(schedule.decay_steps - schedule.warmup_steps);
  constexpr double pi = 3.14159265358979323846;
  double const share = schedule.kind == "cosine" ? 0.5 * (1 + math::cos(pi * progress)) : 1 - progress;
  return schedule.min + share * (lr - schedule.min);
}

}  // namespace lamina::train
