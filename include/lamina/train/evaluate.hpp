#pragma once

#include <cstdint>
#include <optional>

#include "lamina/data/source.hpp"
#include "lamina/train/session.hpp"

namespace lamina::train {

struct Evaluation {
  double loss = 0;                 ///< mean over targets; of classes and tokens in nats
  std::optional<double> accuracy;  ///< share of targets whose class got the largest output; of classifiers
  std::int64_t targets = 0;
  std::int64_t samples = 0;
  double seconds = 0;
};

/// Mean loss, and accuracy, over the first `samples` samples of a source (all of them if there are fewer, or for 0).
/// Collective. The set does not depend on the layout; what is missing in the last micro-batch is padding.
Evaluation evaluate(Session& session, data::Source const& source, std::int64_t samples);

}  // namespace lamina::train
