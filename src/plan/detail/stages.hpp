#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"

namespace lamina::plan {

/// One layer, in the order of the forward.
struct LayerCost {
  std::string path;
  std::int64_t cost = 0;  ///< of its forward and backward, in any one unit; not negative
  bool optional = false;  ///< need not be in a list, and is not counted
};

/// A stage is a run of consecutive layers at one pp coordinate.
struct StageMap {
  std::vector<int> stage;           ///< per layer: its virtual stage, never falling
  std::vector<int> at;              ///< virtual stage -> pp coordinate
  std::vector<std::int64_t> costs;  ///< per virtual stage
};

/// Which layer is in which stage.
/// - "auto": `coordinates * chunks` stages, stage k at coordinate k % coordinates, cut so that the slowest stage is as
///   fast as possible (exact), then so that few cuts fall inside a block.
/// - counts: that many blocks per stage; what is before the first block goes with the first stage, what is after the
///   last with the last. In a network without blocks every layer counts as one.
/// - lists: every layer in exactly one list, optional ones else with the layer behind them; a list whose layers do not
///   follow each other becomes several stages.
/// Every coordinate gets a stage.
/// @throws Error "plan.stages.few | count | twice | missing | at", "plan.layers.unknown": all problems at once.
StageMap assign_stages(std::vector<LayerCost> const& layers, config::Stages const& wanted, int coordinates, int chunks);

}  // namespace lamina::plan
