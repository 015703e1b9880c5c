#pragma once

#include <cstdint>

#include "lamina/config/run_config.hpp"

namespace lamina::train {

/// Learning rate of optimizer step `step` (from 1) of a resolved run: lr * s / warmup_steps up to warm-up; then
/// constant, or from lr down to `min` at decay_steps by half a cosine (Loshchilov and Hutter, 2017) or a line; `min`
/// after that. Equal bits on every machine.
double learning_rate(config::RunConfig const& config, std::int64_t step);

}  // namespace lamina::train
