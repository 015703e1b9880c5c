#pragma once

// Meshes, schedules, ZeRO stages and recomputation, for tests that compare them with one rank; and whole tensors of a
// run on any of them.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "lamina/io/layout.hpp"
#include "support/train_run.hpp"

namespace lamina::test {

struct Combination {
  std::string name;
  int dp = 1, tp = 1, pp = 1;
  std::function<void(config::RunConfig&)> model = [](auto&) {};   ///< what is computed
  std::function<void(config::RunConfig&)> layout = [](auto&) {};  ///< how
};

inline void PrintTo(Combination const& c, std::ostream* out) { *out << c.name; }

/// The model of the combinations.
inline config::RunConfig combined_run() {
  auto c = small_run();
  c.model.layers = 4, c.model.heads = 4, c.model.context = 12, c.batch.global = 8;
  return c;
}

/// The first `ranks` ranks of a job as a world of their own; the others get an empty one.
inline comm::Communicator first_ranks(int ranks) {
  std::vector<int> members(static_cast<std::size_t>(ranks));
  std::iota(members.begin(), members.end(), 0);
  return comm::Communicator::world().subgroup(members, "part", ranks);
}

/// Whole parameters (or moments) of a run, put together on every rank from what each owns.
inline std::map<std::string, std::vector<float>> whole_tensors(train::Session& session, Role role) {
  std::string bytes;
  auto const put = [&](void const* data, std::size_t size) { bytes.append(static_cast<char const*>(data), size); };
  for (auto const& piece : session.owned_pieces()) {
    if (piece.role != role) continue;
    std::vector<io::Box> boxes;
    for (auto const& s : piece.slabs) boxes.push_back({s.offset, s.extent});
    for (auto const& run : io::runs_of(piece.name, piece.global_shape, boxes)) {
      std::int64_t const head[] = {std::ssize(piece.name), piece.global_shape.count(), run.global, run.count};
      put(head, sizeof head);
      put(piece.name.data(), piece.name.size());
      put(piece.memory.as<float>() + run.local, static_cast<std::size_t>(run.count) * sizeof(float));
    }
  }
  std::map<std::string, std::vector<float>> all;
  std::map<std::string, std::int64_t> filled;
  for (auto const& part : session.world().all_gather_bytes(bytes)) {
    for (std::size_t at = 0; at < part.size();) {
      std::int64_t head[4];
      std::memcpy(head, part.data() + at, sizeof head);
      at += sizeof head;
      std::string const name(part.data() + at, static_cast<std::size_t>(head[0]));
      at += name.size();
      auto& whole = all[name];
      whole.resize(static_cast<std::size_t>(head[1]));
      std::memcpy(whole.data() + head[2], part.data() + at, static_cast<std::size_t>(head[3]) * sizeof(float));
      at += static_cast<std::size_t>(head[3]) * sizeof(float);
      filled[name] += head[3];
    }
  }
  for (auto const& [name, v] : all)
    EXPECT_EQ(filled[name], std::ssize(v)) << name << ": not each element has one owner";
  return all;
}

inline auto schedule(std::string kind, std::int64_t chunks = 1) {
  return [kind = std::move(kind), chunks](config::RunConfig& c) {
    c.pipeline.schedule = kind, c.pipeline.chunks = chunks;
  };
}
inline auto zero(std::int64_t stage) {
  return [stage](config::RunConfig& c) { c.parallel.zero = stage; };
}
inline auto recompute(std::string what) {
  return [what = std::move(what)](config::RunConfig& c) { c.memory.recompute = what; };
}
inline void whole_tokens(config::RunConfig& c) { c.parallel.sequence_parallel = false; }
inline void dropout(config::RunConfig& c) { c.model.dropout = 0.1; }
inline void prime_layers(config::RunConfig& c) { c.model.layers = 5; }
inline void large_vocab(config::RunConfig& c) {
  c.model.vocab = 50257, c.model.hidden = 128, c.model.ff = 256, c.model.layers = 1, c.optimizer.lr = 3e-3;
}
/// The table of the large vocabulary is then more than a bucket.
inline void small_buckets(config::RunConfig& c) { c.parallel.bucket = 1 << 20; }
template <class... F>
auto all(F... f) {
  return [f...](config::RunConfig& c) { (f(c), ...); };
}

/// Every schedule, ZeRO stage and kind of recomputation, on meshes of up to 8 ranks; a third with dropout.
inline std::vector<Combination> combinations() {
  auto const shares = [](std::vector<std::int64_t> s) { return [s](config::RunConfig& c) { c.batch.shares = s; }; };
  auto const stages = [](std::vector<std::int64_t> s) {
    return [s](config::RunConfig& c) { c.pipeline.stages.blocks = s; };
  };
  auto const untied = [](config::RunConfig& c) { c.model.tied = false, c.model.head_bias = true; };
  auto const post = [](config::RunConfig& c) {
    c.model.norm = "post", c.model.activation = "relu", c.model.causal = false;
  };
  auto const sgd = [](config::RunConfig& c) { c.optimizer.kind = "sgd", c.optimizer.lr = 0.3; };
  auto const split = [](std::string layers, std::string dim) {
    return [=](config::RunConfig& c) { c.parallel.split.push_back({{layers}, dim}); };
  };
  auto const returning = [](config::RunConfig& c) {
    c.pipeline.stages.lists = {{{"embed", "blocks.0"}, 0},
                               {{"blocks.1", "blocks.2"}, 1},
                               {{"blocks.3"}, 2},
                               {{"blocks.4", "final", "head"}, 0}};
  };
  auto const odd = [](config::RunConfig& c) { c.batch.global = 7, c.batch.micro = 3; };
  return {
      {.name = "tp2", .tp = 2, .model = dropout},
      {.name = "tp2_whole_tokens", .tp = 2, .layout = whole_tokens},
      {.name = "tp2_untied_bias", .tp = 2, .model = untied},
      {.name = "tp2_post_relu", .tp = 2, .model = all(post, dropout)},
      {.name = "tp2_embed_by_width", .tp = 2, .model = untied, .layout = split("embed", "in")},
      {.name = "tp2_nothing_but_attention",
       .tp = 2,
       .model = all(untied, dropout),
       .layout = all(split("embed", "none"), split("blocks.*.mlp", "none"), split("head", "none"))},
      {.name = "tp2_large_vocab", .tp = 2, .model = large_vocab},
      {.name = "tp4", .tp = 4},
      {.name = "tp4_whole_tokens_dropout", .tp = 4, .model = dropout, .layout = whole_tokens},
      {.name = "tp4_full_recompute", .tp = 4, .model = dropout, .layout = recompute("full")},
      {.name = "pp2_gpipe", .pp = 2, .model = dropout, .layout = schedule("gpipe")},
      {.name = "pp2_1f1b", .pp = 2, .layout = schedule("1f1b")},
      {.name = "pp2_zb", .pp = 2, .model = dropout, .layout = schedule("zb-h1")},
      {.name = "pp2_interleaved", .pp = 2, .layout = schedule("interleaved", 2)},
      {.name = "pp2_large_vocab", .pp = 2, .model = all(large_vocab, [](auto& c) { c.model.layers = 2; })},
      {.name = "pp2_untied", .pp = 2, .model = untied},
      {.name = "pp2_uneven", .pp = 2, .model = prime_layers, .layout = stages({4, 1})},
      {.name = "pp3_1f1b_prime", .pp = 3, .model = all(prime_layers, dropout)},
      {.name = "pp3_zb_prime", .pp = 3, .model = prime_layers, .layout = schedule("zb-h1")},
      {.name = "pp3_returning", .pp = 3, .model = all(prime_layers, dropout), .layout = returning},
      {.name = "pp4_1f1b", .pp = 4, .model = prime_layers},
      {.name = "pp4_gpipe_full_recompute",
       .pp = 4,
       .model = all(prime_layers, dropout),
       .layout = all(schedule("gpipe"), recompute("full"))},
      {.name = "pp4_zb_selective", .pp = 4, .layout = all(schedule("zb-h1"), recompute("selective"))},
      {.name = "dp2_zero1", .dp = 2, .model = dropout, .layout = zero(1)},
      {.name = "dp2_large_vocab", .dp = 2, .model = large_vocab, .layout = all(zero(0), small_buckets)},
      {.name = "dp4_large_vocab_untied_zero1",
       .dp = 4,
       .model = all(large_vocab, untied, dropout),
       .layout = all(zero(1), small_buckets)},
      {.name = "dp2_tp2_large_vocab",
       .dp = 2,
       .tp = 2,
       .model = all(large_vocab, dropout),
       .layout = all(zero(1), small_buckets)},
      {.name = "dp2_pp2_large_vocab_untied_zb",
       .dp = 2,
       .pp = 2,
       .model = all(large_vocab, untied, [](auto& c) { c.model.layers = 2; }),
       .layout = all(zero(0), small_buckets, schedule("zb-h1"))},
      {.name = "dp3_large_vocab_zero2_one_micro_batch",
       .dp = 3,
       .model = all(large_vocab, [](auto& c) { c.batch.global = 6; }),
       .layout = all(zero(2), small_buckets, [](auto& c) { c.batch.micro = 2; })},
      {.name = "dp2_pp2_large_vocab_zero1_one_micro_batch",
       .dp = 2,
       .pp = 2,
       .model = all(large_vocab, dropout, [](auto& c) { c.model.layers = 2; }),
       .layout = all(zero(1), small_buckets, [](auto& c) { c.batch.micro = c.batch.global / 2; })},
      {.name = "dp2_zero2", .dp = 2, .layout = zero(2)},
      {.name = "dp2_zero3", .dp = 2, .model = dropout, .layout = zero(3)},
      {.name = "dp3_zero1_odd", .dp = 3, .model = odd, .layout = zero(1)},
      {.name = "dp3_zero2_odd", .dp = 3, .model = odd, .layout = zero(2)},
      {.name = "dp3_zero3_odd", .dp = 3, .model = odd, .layout = zero(3)},
      {.name = "dp4_zero3_sgd", .dp = 4, .model = sgd, .layout = zero(3)},
      {.name = "dp4_zero1_sgd_recompute", .dp = 4, .model = sgd, .layout = all(zero(1), recompute("selective"))},
      {.name = "dp2_shares", .dp = 2, .model = dropout, .layout = shares({3, 1})},
      {.name = "dp3_shares_zero1", .dp = 3, .layout = all(shares({1, 2, 1}), zero(1))},
      {.name = "dp2_tp2", .dp = 2, .tp = 2, .model = dropout},
      {.name = "dp2_tp2_zero1", .dp = 2, .tp = 2, .layout = zero(1)},
      {.name = "dp2_tp2_zero3", .dp = 2, .tp = 2, .model = dropout, .layout = zero(3)},
      {.name = "dp3_tp2_zero2", .dp = 3, .tp = 2, .layout = all(zero(2), whole_tokens)},
      {.name = "dp2_pp2", .dp = 2, .pp = 2},
      {.name = "dp2_pp2_zero1_zb", .dp = 2, .pp = 2, .layout = all(zero(1), schedule("zb-h1"))},
      {.name = "dp2_pp2_zero2", .dp = 2, .pp = 2, .model = dropout, .layout = zero(2)},
      {.name = "dp2_pp2_zero3_interleaved", .dp = 2, .pp = 2, .layout = all(zero(3), schedule("interleaved", 2))},
      {.name = "dp2_pp2_shares", .dp = 2, .pp = 2, .layout = shares({1, 2})},
      {.name = "tp2_pp2", .tp = 2, .pp = 2, .model = dropout},
      {.name = "tp2_pp2_whole_tokens_zb", .tp = 2, .pp = 2, .layout = all(whole_tokens, schedule("zb-h1"))},
      {.name = "tp2_pp2_full", .tp = 2, .pp = 2, .model = dropout, .layout = recompute("full")},
      {.name = "tp2_pp3_prime", .tp = 2, .pp = 3, .model = prime_layers},
      {.name = "dp2_tp2_pp2", .dp = 2, .tp = 2, .pp = 2, .model = dropout},
      {.name = "dp2_tp2_pp2_zero1_interleaved",
       .dp = 2,
       .tp = 2,
       .pp = 2,
       .layout = all(zero(1), schedule("interleaved", 2))},
      {.name = "dp2_tp2_pp2_zero3_gpipe",
       .dp = 2,
       .tp = 2,
       .pp = 2,
       .model = all(untied, dropout),
       .layout = all(zero(3), schedule("gpipe"), recompute("selective"))},
      {.name = "tp4_pp2_zb", .tp = 4, .pp = 2, .layout = schedule("zb-h1")},
      {.name = "dp4_pp2_zero2", .dp = 4, .pp = 2, .layout = zero(2)},
  };
}

}  // namespace lamina::test
