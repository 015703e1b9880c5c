#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "lamina/data/source.hpp"

namespace lamina::data {

struct Feeder::Impl {
  Source const& source;
  Portion portion;
  std::int64_t micro;
  bool shuffle;
  std::int64_t seed, origin;

  std::vector<Field> fields;
  std::vector<std::size_t> bytes;  // of one sample of a field

  // Two steps: one that is read from, one that the thread fills.
  struct Step {
    std::int64_t number = 0;  // 0: empty
    std::vector<std::vector<std::byte>> fields;
    std::vector<void*> places;  // of the sample that is being read
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
    try {
      for (std::size_t f = 0; f < fields.size(); ++f) {
        std::fill(step.fields[f].begin(), step.fields[f].end(), std::byte{fields[f].padding});
      }
      for (std::int64_t i = 0; i < portion.count; ++i) {
        auto const position = origin + (number - 1) * portion.global + portion.first + i;
        auto const sample = sample_at(position, source.samples(), shuffle, seed);
        for (std::size_t f = 0; f < fields.size(); ++f) {
          step.places[f] = step.fields[f].data() + static_cast<std::size_t>(i) * bytes[f];
        }
        source.fill(sample, step.places);
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

Portion Portion::even(std::int64_t global, std::int64_t micro, std::int64_t replica, std::int64_t replicas) {
  auto const share = global / replicas, rest = global % replicas;
  auto const largest = share + (rest > 0 ? 1 : 0);
  return {.global = global,
          .first = replica * share + std::min(replica, rest),
          .count = share + (replica < rest ? 1 : 0),
          .micro_batches = (largest + micro - 1) / micro};
}

Feeder::Feeder(Source const& source, Portion const& portion, std::int64_t micro, bool shuffle, std::int64_t seed,
               std::int64_t origin) {
  impl_.reset(new Impl{.source = source,
                       .portion = portion,
                       .micro = micro,
                       .shuffle = shuffle,
                       .seed = seed,
                       .origin = origin,
                       .fields = source.fields(),
                       .bytes = {},
                       .ready = {},
                       .next = {},
                       .mutex = {},
                       .changed = {},
                       .thread = {}});
  auto const samples = static_cast<std::size_t>(portion.micro_batches * micro);
  for (auto const& f : impl_->fields) impl_->bytes.push_back(static_cast<std::size_t>(f.sample.bytes()));
  for (auto* step : {&impl_->ready, &impl_->next}) {
    for (auto const bytes : impl_->bytes) step->fields.emplace_back(samples * bytes);
    step->places.resize(impl_->fields.size());
  }
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

void Feeder::read(std::int64_t step, std::int64_t m, std::span<void* const> to) {
  if (impl_->ready.number != step) impl_->take(step);
  if (impl_->ready.error) {
    impl_->ready.number = 0;
    std::rethrow_exception(impl_->ready.error);
  }
  for (std::size_t f = 0; f < to.size(); ++f) {
    auto const size = static_cast<std::size_t>(impl_->micro) * impl_->bytes[f];
    if (to[f] != nullptr) std::memcpy(to[f], impl_->ready.fields[f].data() + static_cast<std::size_t>(m) * size, size);
  }
}

Portion const& Feeder::portion() const { return impl_->portion; }

}  // namespace lamina::data
