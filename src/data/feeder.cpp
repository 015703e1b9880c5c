#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "lamina/data/source.hpp"

namespace lamina::data {

struct Feeder::Impl {
  Source const& source;
  std::int64_t global, micro, first, count, micro_batches;
  bool shuffle;
  std::int64_t seed, origin;

  // Two steps of tokens: one that is read from, one that the thread fills.
  struct Step {
    std::int64_t number = 0;  // 0: empty
    std::vector<std::int32_t> inputs, targets;
    std::exception_ptr error;
  };
  Step ready, next;
  std::int64_t wanted = 0;  // the step the thread shall fill into `next`; 0: nothing
  bool stopping = false;
  std::mutex mutex;
  std::condition_variable changed;
  std::thread thread;

  void fill(Step& step, std::int64_t number) const {
    step.number = number;
    step.error = nullptr;
    auto const length = source.tokens_per_sample();
    try {
      std::fill(step.inputs.begin(), step.inputs.end(), 0);
      std::fill(step.targets.begin(), step.targets.end(), -1);  // padding is ignored by the loss
      for (std::int64_t i = 0; i < count; ++i) {
        auto const position = origin + (number - 1) * global + first + i;
        auto const sample = sample_at(position, source.samples(), shuffle, seed);
        source.read(sample, step.inputs.data() + i * length, step.targets.data() + i * length);
      }
    } catch (...) {
      step.error = std::current_exception();
    }
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || wanted != 0; });
      if (stopping) return;
      auto const number = wanted;
      lock.unlock();
      fill(next, number);
      lock.lock();
      wanted = 0;
      changed.notify_all();
    }
  }

  void take(std::int64_t step) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return wanted == 0; });
    if (next.number != step) {  // the first step, or a jump
      wanted = step;
      changed.notify_all();
      changed.wait(lock, [&] { return wanted == 0; });
    }
    std::swap(ready, next);
    if (!ready.error) {
      wanted = step + 1;
      changed.notify_all();
    }
  }
};

Feeder::Feeder(Source const& source, std::int64_t global, std::int64_t micro, std::int64_t replica,
               std::int64_t replicas, bool shuffle, std::int64_t seed, std::int64_t origin) {
  auto const share = global / replicas, rest = global % replicas;
  auto const largest = share + (rest > 0 ? 1 : 0);
  impl_.reset(new Impl{.source = source,
                       .global = global,
                       .micro = micro,
                       .first = replica * share + std::min(replica, rest),
                       .count = share + (replica < rest ? 1 : 0),
                       .micro_batches = (largest + micro - 1) / micro,
                       .shuffle = shuffle,
                       .seed = seed,
                       .origin = origin,
                       .ready = {},
                       .next = {},
                       .mutex = {},
                       .changed = {},
                       .thread = {}});
  auto const elements = static_cast<std::size_t>(impl_->micro_batches * micro * source.tokens_per_sample());
  for (auto* step : {&impl_->ready, &impl_->next}) step->inputs.resize(elements), step->targets.resize(elements);
  impl_->thread = std::thread([impl = impl_.get()] { impl->work(); });
}

Feeder::~Feeder() {
  {
    std::lock_guard const lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

void Feeder::read(std::int64_t step, std::int64_t m, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
  if (impl_->ready.number != step) impl_->take(step);
  if (impl_->ready.error) {
    impl_->ready.number = 0;
    std::rethrow_exception(impl_->ready.error);
  }
  auto const size = impl_->micro * impl_->source.tokens_per_sample();
  std::copy_n(impl_->ready.inputs.data() + m * size, size, inputs.data());
  std::copy_n(impl_->ready.targets.data() + m * size, size, targets.data());
}

std::int64_t Feeder::first_sample() const { return impl_->first; }
std::int64_t Feeder::micro_batches() const { return impl_->micro_batches; }

}  // namespace lamina::data
