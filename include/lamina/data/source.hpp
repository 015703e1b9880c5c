#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"

namespace lamina::data {

/// A set of samples of T+1 consecutive tokens, addressed by index: inputs are the first T, targets the last T.
/// Sample i of a file is tokens i*T .. i*T+T; floor((n-1)/T) samples a file, none across files.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::int64_t samples() const = 0;
  virtual std::int64_t tokens_per_sample() const = 0;  ///< T
  /// Writes T inputs and T targets of a sample. Thread-safe. @throws Error "data.*" (exit 3).
  virtual void read(std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) const = 0;
};

struct Sources {
  std::unique_ptr<Source> train, valid;  ///< valid may be null
  std::int64_t vocab = 0;                ///< of the tokenizer; 0 when the files do not say
};

/// How much of a file `open` reads to check its token ids.
struct CheckLimits {
  std::int64_t whole_bytes = std::int64_t{64} << 20;  ///< files up to this size: all of it
  std::int64_t end_bytes = std::int64_t{1} << 20;     ///< larger ones: this much of either end
};

/// Opens the files of a run (globs expanded, in given then name order). A Megatron dataset that is listed or matched
/// by both of its names counts once.
/// @param vocab tokens at or above it are refused with file and offset ("data.tokens.range", exit 3): at once where
/// `limits` have them read, elsewhere by Source::read, before anything is computed with them; 0: the tokenizer's.
Sources open(config::Data const& config, std::int64_t tokens_per_sample, std::int64_t vocab,
             CheckLimits const& limits = {});

/// The sample at a position of the training order: position = (step - 1) * global + index in the step. Epochs wrap;
/// with `shuffle` each epoch is its own permutation of all samples, computed by a counter-based cipher (no table in
/// memory), a function of (seed, epoch) only: independent of the number of ranks.
std::int64_t sample_at(std::int64_t position, std::int64_t samples, bool shuffle, std::int64_t seed);

/// Feeds one replica: prefetches the next step's tokens on an I/O thread.
class Feeder {
 public:
  /// Replica `replica` of `replicas` takes its contiguous range of each step's `global` samples (earlier replicas take
  /// the remainder); micro-batches of `micro` samples; what is missing is padding with targets -1.
  /// @param origin the position of step 1's first sample, were all steps of this size: not 0 after a resume with
  /// another
  ///   `global`, which goes on where the steps before have stopped.
  Feeder(Source const& source, std::int64_t global, std::int64_t micro, std::int64_t replica, std::int64_t replicas,
         bool shuffle, std::int64_t seed, std::int64_t origin = 0);
  ~Feeder();
  /// Tokens of micro-batch `m` of step `step` (from 1): [micro, T] each. Blocks until they are there. Steps in order; a
  /// jump (resume) is allowed.
  void read(std::int64_t step, std::int64_t m, std::span<std::int32_t> inputs, std::span<std::int32_t> targets);
  std::int64_t first_sample() const;   ///< of this replica within a step
  std::int64_t micro_batches() const;  ///< per step: equal on all replicas

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lamina::data
