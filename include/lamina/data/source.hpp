#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::data {

/// One named input of a model: micro-batch m is the buffer "<name>.<m>", [batch, the dims of a sample].
struct Field {
  std::string name;
  TensorSpec sample;
  /// Every byte of a missing sample: 0xff makes i32 targets -1, which no loss counts.
  std::uint8_t padding = 0;
};

/// A set of samples, addressed by index.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::int64_t samples() const = 0;
  /// What a sample consists of; the same at every call.
  virtual std::vector<Field> fields() const = 0;
  /// Writes a sample, each field to its place. Thread-safe. @throws Error "data.*" (exit 3).
  virtual void fill(std::int64_t sample, std::span<void* const> to) const = 0;
};

/// Samples of T+1 consecutive tokens: fields `tokens` and `targets`, i32 [T]; inputs are the first T, targets the last
/// T. Sample i of a file is tokens i*T .. i*T+T; floor((n-1)/T) samples a file, none across files.
class TokenSource : public Source {
 public:
  virtual std::int64_t tokens_per_sample() const = 0;  ///< T
  /// Writes T inputs and T targets of a sample. Thread-safe. @throws Error "data.*" (exit 3).
  virtual void read(std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) const = 0;

  std::vector<Field> fields() const final;
  void fill(std::int64_t sample, std::span<void* const> to) const final;
};

/// What a model takes. Token data have `tokens`; samples of numbers have fields `x` f32 [features] and `y`: i32 []
/// below `outputs`, or, of values, f32 [outputs] with `counted` i32 [] = 0.
struct Demand {
  std::int64_t tokens = 0;  ///< of a sample; 0: numbers
  std::int64_t vocab = 0;   ///< tokens at or above it are refused at read with file and offset; 0: the tokenizer's
  std::int64_t features = 0, outputs = 0;
  bool values = false;  ///< y is what the outputs should be, not a class
};

struct Sources {
  std::unique_ptr<Source> train, valid;  ///< valid may be null
  std::int64_t vocab = 0;                ///< of the tokenizer; 0 when the files do not say
};

/// How much of a token file `open` reads to check its ids.
struct CheckLimits {
  std::int64_t whole_bytes = std::int64_t{64} << 20;  ///< files up to this size: all of it
  std::int64_t end_bytes = std::int64_t{1} << 20;     ///< larger ones: this much of either end
};

/// Opens the data of a run: files (globs expanded, in given then name order), or what the run file describes. Tokens at
/// or above `demand.vocab` are refused with file and offset ("data.tokens.range", exit 3): at once where `limits` have
/// them read, elsewhere when a sample is read, before anything is computed with it. A Megatron dataset that is listed
/// or matched by both of its names counts once. @throws Error "data.*" (exit 3).
Sources open(config::Data const& config, Demand const& demand, CheckLimits const& limits = {});

/// The sample at a position of the training order: position = (step - 1) * global + index in the step. Epochs wrap;
/// with `shuffle` each epoch is its own permutation of all samples, computed by a counter-based cipher (no table in
/// memory), a function of (seed, epoch) only: independent of the number of ranks.
std::int64_t sample_at(std::int64_t position, std::int64_t samples, bool shuffle, std::int64_t seed);

/// What one replica takes of a step's samples: a contiguous range, in micro-batches.
struct Portion {
  std::int64_t global = 0;         ///< samples of a step over all replicas
  std::int64_t first = 0;          ///< of them
  std::int64_t count = 0;          ///< may be 0
  std::int64_t micro_batches = 1;  ///< what is missing is padding

  /// As even as whole samples allow: earlier replicas take the remainder; equally many micro-batches of `micro` samples.
  static Portion even(std::int64_t global, std::int64_t micro, std::int64_t replica, std::int64_t replicas);
};

/// Feeds one replica: prefetches the next step's samples on an I/O thread.
class Feeder {
 public:
  /// @param micro samples of a micro-batch
  /// @param origin the position of step 1's first sample, were all steps of this size: not 0 after a resume with another
  ///   `global`, which goes on where the steps before have stopped.
  Feeder(Source const& source, Portion const& portion, std::int64_t micro, bool shuffle, std::int64_t seed,
         std::int64_t origin = 0);
  ~Feeder();
  /// Micro-batch `m` of step `step` (from 1): every field as [micro, sample] to its place; null: not wanted. Blocks
  /// until it is there. Steps in order; a jump (resume) is allowed.
  void read(std::int64_t step, std::int64_t m, std::span<void* const> to);
  Portion const& portion() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lamina::data
