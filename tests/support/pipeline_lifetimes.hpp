#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "plan/detail/memory.hpp"
#include "plan/detail/schedule.hpp"

namespace lamina::test {

/// The lifetimes of one pp coordinate's step of a GPT-like network: what its forwards keep for its backwards, what only
/// lasts from one kernel to the next, scratch, and messages that are under way for a while.
class PipelineLifetimes {
 public:
  PipelineLifetimes(plan::Schedule const& schedule, int coordinate, int layers, bool odd)
      : schedule_(schedule), coordinate_(coordinate), layers_(layers), unit_(odd ? 100'352 : 65'536), odd_(odd) {}

  std::vector<plan::Lifetime> run() {
    using Kind = plan::Action::Kind;
    for (auto const& a : schedule_.actions[static_cast<std::size_t>(coordinate_)]) {
      if (a.kind == Kind::forward) forward(a);
      if (a.kind == Kind::backward || a.kind == Kind::backward_input) backward(a, a.kind == Kind::backward);
      if (a.kind == Kind::backward_weight) weights(a);
    }
    return std::move(all_);
  }

 private:
  struct Kept {  // of one layer's visit
    int r1, y1, stats1, qkv, attended, lse, r2, y2, stats2, z, g;
    std::vector<int> gradients;  // kept for the weight part
  };

  int make(std::int64_t units, std::int64_t more = 0) {
    auto const now = 2 * step_;
    all_.push_back({units * unit_ + more, now, now});
    return static_cast<int>(all_.size()) - 1;
  }
  void use(int buffer) { all_[static_cast<std::size_t>(buffer)].last = 2 * step_; }
  template <class... Buffers>
  void next(Buffers... used) {
    (use(used), ...);
    ++step_;
  }
  int scratch() { return make(0, 40'000 + (odd_ ? 64 * (step_ % 5) : 0)); }

  void forward(plan::Action const& a) {
    auto x = make(4);  // the message
    all_[static_cast<std::size_t>(x)].first -= 5;
    auto& list = kept_[{a.stage, a.micro_batch}];
    for (int l = 0; l < layers_; ++l) {
      Kept k{};
      k.r1 = make(4), k.y1 = make(4), k.stats1 = make(0, 512), next(x);
      k.qkv = make(12), scratch(), next(k.y1);
      k.attended = make(4), k.lse = make(0, 2048), scratch(), next(k.qkv);
      int const out = make(4);
      scratch(), next(k.attended);
      k.r2 = make(4), k.y2 = make(4), k.stats2 = make(0, 512), next(out, k.r1);
      k.z = make(16), k.g = make(16), scratch(), next(k.y2);
      x = make(4), scratch(), next(k.g, k.r2);
      list.push_back(k);
    }
    all_[static_cast<std::size_t>(x)].last += 7;
  }

  void backward(plan::Action const& a, bool whole) {
    auto dy = make(4);
    all_[static_cast<std::size_t>(dy)].first -= 5;
    auto& list = kept_[{a.stage, a.micro_batch}];
    for (auto k = list.rbegin(); k != list.rend(); ++k) {
      auto const weight = [&](int gradient, int input) {
        if (whole) {
          scratch(), next(gradient, input);
        } else {
          k->gradients.insert(k->gradients.end(), {gradient, input});
        }
      };
      weight(dy, k->g);
      int const dg = make(16);
      scratch(), next(dy);
      int const dz = make(16);
      next(dg, k->z);
      weight(dz, k->y2);
      int const dy2 = make(4);
      scratch(), next(dz);
      int const dr = make(4);
      next(dy2, k->r2, k->stats2, dy);
      weight(dr, k->attended);
      int const da = make(4);
      scratch(), next(dr);
      int const dqkv = make(12);
      scratch(), next(da, k->qkv, k->attended, k->lse);
      weight(dqkv, k->y1);
      int const dy1 = make(4);
      scratch(), next(dqkv);
      dy = make(4), next(dy1, k->r1, k->stats1, dr);
    }
    all_[static_cast<std::size_t>(dy)].last += 7;
  }

  void weights(plan::Action const& a) {
    for (auto& k : kept_[{a.stage, a.micro_batch}]) {
      for (std::size_t i = 0; i < k.gradients.size(); i += 2) scratch(), next(k.gradients[i], k.gradients[i + 1]);
    }
  }

  plan::Schedule const& schedule_;
  int coordinate_, layers_;
  std::int64_t unit_;
  bool odd_;
  std::int64_t step_ = 10;
  std::vector<plan::Lifetime> all_;
  std::map<std::pair<int, int>, std::vector<Kept>> kept_;
};

inline std::vector<plan::Lifetime> pipeline_lifetimes(plan::Schedule const& schedule, int coordinate, int layers,
                                                      bool odd = false) {
  return PipelineLifetimes(schedule, coordinate, layers, odd).run();
}

}  // namespace lamina::test
