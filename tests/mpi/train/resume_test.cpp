// A run that was stopped and started again, through the whole of `train`: directory, checkpoints, metrics.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/train/train.hpp"
#include "support/kernel_thread.hpp"
#include "support/temporary.hpp"
#include "support/train_run.hpp"

namespace lamina {
namespace {

constexpr std::int64_t stop = 4, last = 10;

class Resume : public ::testing::Test {
 protected:
  Resume() : world_(comm::Communicator::world()) {
    log::set_level(log::Level::error);
    if (world_.rank() == 0) directory_.emplace(), top_ = directory_->path();
    world_.broadcast_bytes(top_, 0);
    config_ = test::small_run();
    config_.run.steps = last, config_.model.dropout = 0.1;
    config_.data.kind = "tokens", config_.data.train = {top_ + "/tokens.bin"};
    config_.checkpoint.every_steps = 3;
    config_.log.tensorboard = false;
    if (world_.rank() == 0) {
      std::string tokens;
      for (std::uint32_t i = 0; i < 231; ++i) tokens += {static_cast<char>(test::scramble(i) % 37), '\0'};
      test::write_file(top_ + "/tokens.bin", tokens);
    }
    world_.barrier();
  }
  ~Resume() override { world_.barrier(); }  // before the directory goes

  /// Trains the run in directory `name` on the first ranks up to a step.
  void train(std::string const& name, int ranks, std::int64_t until) {
    std::vector<int> members(static_cast<std::size_t>(std::min(ranks, world_.size())));
    std::iota(members.begin(), members.end(), 0);
    if (auto const group = world_.subgroup(members, "part", ranks)) {
      auto config = config_;
      config.run.dir = top_ + "/" + name;
      config::resolve(config, group.size());
      train::TrainOptions const options{
          .stop_after_step = until, .threads = 1, .command_line = {}, .hosts = {}, .registered = {}};
      EXPECT_EQ(train::train(config, group, options), ExitCode::ok);
    }
    world_.barrier();
  }
  std::string checkpoint(std::string const& name) const { return top_ + "/" + name + "/checkpoints/step-00000010"; }
  /// Rank 0.
  std::vector<double> metric(std::string const& name, char const* key) const {
    std::ifstream in(top_ + "/" + name + "/metrics.jsonl");
    std::vector<double> values;
    for (std::string line; std::getline(in, line);) values.push_back(nlohmann::json::parse(line).at(key).get<double>());
    return values;
  }
  bool lead() const { return world_.rank() == 0; }

  comm::Communicator world_;
  std::optional<test::TemporaryDirectory> directory_;
  std::string top_;
  config::RunConfig config_;
};

TEST_F(Resume, repeats_the_uninterrupted_run_bit_by_bit_on_as_many_ranks) {
  for (auto const& [ranks, compute] : {std::pair{1, "f32"}, {2, "f32"}, {3, "f32"}, {2, "bf16"}}) {
    config_.precision.compute = compute;
    auto const whole = text("whole.", ranks, compute), parts = text("parts.", ranks, compute);
    train(whole, ranks, last);
    train(parts, ranks, stop);
    if (lead()) {
      EXPECT_EQ(metric(parts, "loss").size(), static_cast<std::size_t>(stop));
    }
    train(parts, ranks, last);
    if (!lead()) continue;
    for (auto const* key : {"step", "loss", "grad_norm", "lr", "tokens"}) {
      EXPECT_EQ(metric(parts, key), metric(whole, key)) << key << " on " << ranks;
    }
    EXPECT_EQ(metric(whole, "loss").size(), static_cast<std::size_t>(last));
    auto const differences = checkpoint::diff(checkpoint(whole), checkpoint(parts));
    EXPECT_FALSE(differences.empty());
    for (auto const& d : differences) EXPECT_TRUE(d.note.empty() && d.differing == 0) << d.name << ' ' << d.role;
  }
}

TEST_F(Resume, sees_the_same_data_on_another_number_of_ranks) {
  train("whole", 2, last);
  auto const whole = metric("whole", "loss");
  for (int const ranks : {1, 3}) {
    auto const name = text("then.", ranks);
    train(name, 2, stop);
    train(name, ranks, last);
    if (!lead()) continue;
    auto const changed = metric(name, "loss");
    EXPECT_EQ(changed.size(), whole.size());
    EXPECT_EQ(metric(name, "tokens"), metric("whole", "tokens"));
    for (std::size_t i = 0; i < std::min(changed.size(), whole.size()); ++i) {
      EXPECT_NEAR(changed[i] / whole[i], 1, 1e-6) << "step " << i + 1 << ", the last ones on " << ranks;
    }
  }
}

}  // namespace
}  // namespace lamina
