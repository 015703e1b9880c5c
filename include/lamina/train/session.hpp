#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/comm/communicator.hpp"
#include "lamina/config/run_config.hpp"
#include "lamina/data/source.hpp"
#include "lamina/models/models.hpp"
#include "lamina/plan/plan.hpp"
#include "lamina/runtime/executor.hpp"

namespace lamina::train {

/// Sizes of what `Purpose::generate` plans.
struct GenerateSizes {
  std::int64_t batch = 1;
  std::int64_t chunk = 64;  ///< tokens of one prefill pass
};

/// The graphs of a resolved run for a purpose. Pure.
plan::Graphs build_graphs(config::RunConfig const& config, plan::Purpose purpose,
                          std::vector<models::Registration> const& registered, GenerateSizes const& sizes = {});
/// What the plan may count on here: threads, memory, libraries. Collective: the smallest memory of all ranks.
plan::Machine find_machine(comm::Communicator const& world, config::RunConfig const& config, int threads);

/// A planned run that is ready to be executed: graphs -> plan -> this rank's programs -> executor. Collective.
class Session {
 public:
  struct Options {
    plan::Purpose purpose = plan::Purpose::train;
    std::vector<models::Registration> registered;
    GenerateSizes generate;
    int threads = 1;
  };
  /// @throws Error "plan.*"; "plan.mismatch.hash" (exit 4) when ranks planned differently.
  Session(config::RunConfig config, comm::Communicator world, Options const& options);

  config::RunConfig const& config() const { return config_; }
  comm::Communicator& world() { return world_; }
  runtime::Executor& executor() { return *executor_; }
  plan::Plan const& plan() const { return *plan_; }
  std::uint64_t plan_hash() const { return plan_hash_; }
  std::int64_t dp_rank() const;
  std::int64_t dp_size() const;
  /// Elements of all parameters, and those of position embeddings.
  std::int64_t parameter_count() const { return parameter_count_; }
  /// Resident high-water mark just before the arenas were made: what they add to it was planned.
  std::int64_t resident_before_arenas() const { return resident_before_; }
  /// Tokens of one prefill pass.
  std::int64_t prefill_tokens() const { return prefill_tokens_; }
  /// Model flops of one token, forward and backward: 6 N + 6 L C T, see performance notes in perf/README.md.
  double flops_per_token() const;

  /// Writes initial values: random, or from the weights `model.init` names; moments zero. Then refreshes working
  /// copies.
  void initialise();
  /// Loads a checkpoint (newest for step < 0) into parameters and, if there are any, moments; then refreshes. Nothing
  /// happens when none is there.
  checkpoint::Found load(std::string const& run_dir, std::int64_t step);
  /// This rank's pieces of what a checkpoint holds.
  std::vector<checkpoint::Piece> pieces() const;
  /// The same for saving: of what several ranks hold alike, each has a part. Collective, see gather_parameters.
  std::vector<checkpoint::Piece> owned_pieces();
  /// After an update with ZeRO 1 or 2 a rank has most parameters right in its own rows only, and the next forward
  /// fetches the others as it goes. Whoever reads parameters before that calls this first. Collective.
  void gather_parameters();

  /// The sums of an output such as `loss`, f64[2]; null where another rank counts the same, or this one has none.
  double const* loss(std::string const& output) const;
  /// f64[16] summed over all ranks in place.
  void sum_over_ranks(double* values, int count);

 private:
  /// Writes elements first .. first + count of a global tensor.
  using Filler = std::function<void(std::int64_t first, std::int64_t count, float*)>;
  void set_parameters(std::function<Filler(graph::Value const&)> const& filler_of);
  std::map<plan::Copies, std::vector<checkpoint::Piece>> pieces_by_copies() const;

  config::RunConfig config_;
  comm::Communicator world_;
  plan::Graphs graphs_;
  std::shared_ptr<plan::Plan const> plan_;
  std::uint64_t plan_hash_ = 0;
  std::unique_ptr<runtime::Executor> executor_;
  std::int64_t parameter_count_ = 0, position_count_ = 0, resident_before_ = 0, prefill_tokens_ = 0;
};

/// Fills the sizes of the model and `tied` from the config.json of a Hugging Face model when `model.init` names its
/// directory, or a file in it, and the vocabulary from the tokenizer. Before `resolve`.
/// @throws Error "models.gpt.init", all at once with their lines, for values of the run file that contradict the
/// weights: other sizes or `tied` where they are given, and what no GPT-2 of Hugging Face has (post-norm, relu, ...).
void complete_model(config::RunConfig& config);

/// The data of a completed run as its model takes them. @throws Error "data.*".
data::Sources open_data(config::RunConfig const& config);

}  // namespace lamina::train
