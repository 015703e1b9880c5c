// Collectives of ranks that read each other's memory: values in arenas that all of them or some map, crossing huge
// pages at odd addresses; programs that do not fit together; memory that goes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <fstream>
#include <numeric>
#include <random>
#include <thread>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"
#include "lamina/device/arena.hpp"
#include "lamina/device/stream.hpp"
#include "support/comm_cases.hpp"

namespace lamina {
namespace {

using comm::Communicator;
using comm::Reduce;
using device::Arena;

constexpr std::int64_t most_bytes = std::int64_t{40} << 20;

enum class Shared { all, odd_ranks };

void PrintTo(Shared s, std::ostream* out) { *out << (s == Shared::all ? "all" : "odd_ranks"); }

/// Arenas of neighbours that this process has mapped: theirs to read, its own to write.
int mapped_arenas() {
  std::ifstream maps("/proc/self/maps");
  int n = 0;
  for (std::string line; std::getline(maps, line);) {
    n += line.find("memfd:lamina") != line.npos && line.find(" r--s ") != line.npos;
  }
  return n;
}

class SharedArenas : public ::testing::TestWithParam<Shared> {
 protected:
  void SetUp() override {
    if (n_ == 1 || !world_.is_within_reach()) GTEST_SKIP() << "one rank, or the system forbids to read another";
    Arena const probe(std::int64_t{4} << 20, Arena::Sharing::neighbours);
    bool const has_huge_files = Arena::shared_block_of(probe.at(0)).has_value();
    if (world_.all_min(has_huge_files ? 1 : 0) == 0) GTEST_SKIP() << "no huge pages for files in memory";
    make_arena();
  }
  bool shares(int rank) const { return GetParam() == Shared::all || rank % 2 == 1; }
  void make_arena() {
    next_ = 0;
    arena_ = {};
    arena_ = Arena(most_bytes, shares(rank_) ? Arena::Sharing::neighbours : Arena::Sharing::none);
  }
  /// Room behind what was given out before, where no huge page or line of a cache begins.
  template <class T>
  T* give(std::int64_t count) {
    auto* const at = static_cast<T*>(arena_.at(next_ + static_cast<std::int64_t>(sizeof(T)) * 3));
    next_ += (count + 8) * static_cast<std::int64_t>(sizeof(T)) / 64 * 64 + 128;
    EXPECT_LE(next_, most_bytes);
    return at;
  }
  template <class T>
  void check_all_reduce(DType dtype, Reduce op, std::int64_t count, auto value, auto expected) {
    auto* const v = give<T>(count);
    auto const task = world_.make_all_reduce({{v, {dtype, {count}}}}, op);
    for (int round = 0; round < 2; ++round) {
      for (std::int64_t i = 0; i < count; ++i) v[i] = value(i, rank_);
      stream_.enqueue(*task);
      stream_.wait();
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < count; ++i) wrong += v[i] != expected(i);
      EXPECT_EQ(wrong, 0) << count << " of " << name_of(dtype) << ", round " << round;
    }
    int readable = 0;
    for (int r = 0; r < n_; ++r) readable += r != rank_ && shares(r);
    EXPECT_EQ(mapped_arenas(), readable) << "not by the way that is to be tested";
  }

  Communicator world_ = Communicator::world();
  int n_ = world_.size(), rank_ = world_.rank();
  Arena arena_;
  std::int64_t next_ = 0;
  device::Stream stream_;
};

TEST_P(SharedArenas, all_reduce_of_every_dtype_gives_the_sums_in_rank_order) {
  auto const sum = [this](std::int64_t i) {
    float s = test::odd_value(i, 0);
    for (int r = 1; r < n_; ++r) s += test::odd_value(i, r);
    return s;
  };
  check_all_reduce<float>(DType::f32, Reduce::sum, 2000003, test::odd_value, sum);
  check_all_reduce<float>(DType::f32, Reduce::mean, 600011, test::odd_value,
                          [&](std::int64_t i) { return sum(i) / static_cast<float>(n_); });
  check_all_reduce<double>(
      DType::f64, Reduce::sum, 300007, [](std::int64_t i, int r) { return static_cast<double>(i) + 1e-9 * r; },
      [this](std::int64_t i) {
        auto s = static_cast<double>(i);
        for (int r = 1; r < n_; ++r) s += static_cast<double>(i) + 1e-9 * r;
        return s;
      });
  check_all_reduce<std::int64_t>(
      DType::i64, Reduce::max, 300007, [](std::int64_t i, int r) { return i % 2 == 0 ? i + r : i - r; },
      [this](std::int64_t i) { return i % 2 == 0 ? i + n_ - 1 : i; });
  check_all_reduce<std::uint16_t>(
      DType::bf16, Reduce::sum, 1500007,
      [](std::int64_t i, int r) { return test::bf16(static_cast<float>(i % 8 + r)); },
      [this](std::int64_t i) { return test::bf16(static_cast<float>(n_ * (i % 8) + n_ * (n_ - 1) / 2)); });
}

TEST_P(SharedArenas, rows_are_scattered_and_gathered_in_place_and_elsewhere) {
  constexpr std::int64_t columns = 70001;
  std::vector<std::int64_t> rows{0};
  for (int r = 0; r < n_; ++r) rows.push_back(rows.back() + 2 * r + 3);  // 3, 5, 7 ...: crosses huge pages
  auto const own = rows[rank_ + 1] - rows[rank_], first = rows[rank_] * columns, count = rows.back() * columns;
  for (bool const in_place : {true, false}) {
    auto* const whole = give<float>(count);
    auto* const part = in_place ? whole + first : give<float>(own * columns);
    std::vector<comm::RowCut> const cuts{
        {{whole, {DType::f32, {rows.back(), columns}}}, {part, {DType::f32, {own, columns}}}, rows}};
    for (std::int64_t i = 0; i < count; ++i) whole[i] = test::odd_value(i, rank_);
    stream_.enqueue(world_.make_reduce_scatter(cuts, {}));
    stream_.wait();
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < own * columns; ++i) {
      float sum = test::odd_value(first + i, 0);
      for (int r = 1; r < n_; ++r) sum += test::odd_value(first + i, r);
      wrong += part[i] != sum;
      part[i] = test::odd_value(first + i, 99);
    }
    EXPECT_EQ(wrong, 0) << "scattered, in place " << in_place;
    stream_.enqueue(world_.make_all_gather(cuts, {}));
    stream_.wait();
    wrong = 0;
    for (std::int64_t i = 0; i < count; ++i) wrong += whole[i] != test::odd_value(i, 99);
    EXPECT_EQ(wrong, 0) << "gathered, in place " << in_place;
  }
}

TEST_P(SharedArenas, that_are_made_again_at_other_or_the_same_addresses_are_mapped_again) {
  std::minstd_rand random(static_cast<unsigned>(rank_));
  for (int round = 0; round < 4; ++round) {
    make_arena();
    next_ = static_cast<std::int64_t>(random() % 5) * (1 << 20);
    constexpr std::int64_t count = 700001;
    auto* const v = give<float>(count);
    for (std::int64_t i = 0; i < count; ++i) v[i] = static_cast<float>(i % 13 + rank_ + round);
    world_.all_reduce(stream_, {v, {DType::f32, {count}}});
    stream_.wait();
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      wrong += v[i] != static_cast<float>(n_ * (i % 13 + round) + n_ * (n_ - 1) / 2);
    }
    EXPECT_EQ(wrong, 0) << round;
    world_.barrier();  // before somebody's arena goes
  }
}

INSTANTIATE_TEST_SUITE_P(of, SharedArenas, ::testing::Values(Shared::all, Shared::odd_ranks),
                         ::testing::PrintToStringParamName());

class Reading : public ::testing::Test {
 protected:
  void SetUp() override {
    if (n_ == 1 || !world_.is_within_reach()) GTEST_SKIP() << "one rank, or the system forbids to read another";
    std::vector<int> everyone(static_cast<std::size_t>(n_));
    std::iota(everyone.begin(), everyone.end(), 0);
    group_ = world_.subgroup(everyone, "unlike", 11);
  }
  /// Equal rows of a tensor, those of this rank in place.
  comm::RowCut cut(std::span<float> v) const {
    auto const part = std::ssize(v) / n_;
    comm::RowCut c{{v.data(), {DType::f32, {part * n_}}}, {v.data() + rank_ * part, {DType::f32, {part}}}, {}};
    for (int r = 0; r <= n_; ++r) c.rows.push_back(r * part);
    return c;
  }
  void expect_mismatch(device::Task& task) {
    try {
      task.start();
      while (!task.advance()) std::this_thread::yield();
      ADD_FAILURE() << "rank " << rank_ << " got something";
    } catch (Error const& e) {
      EXPECT_EQ(e.info().code, "comm.mismatch");
      EXPECT_THAT(e.info().subject, ::testing::HasSubstr("unlike"));
    }
    world_.barrier();
  }

  Communicator world_ = Communicator::world(), group_;
  int n_ = world_.size(), rank_ = world_.rank();
  bool is_last_ = rank_ + 1 == n_;
};

/// Nothing but what is told apart from values can show it.
TEST_F(Reading, tells_rows_of_the_same_size_in_another_order) {
  std::vector<float> a((is_last_ ? 60'000 : 40'000) * n_), b((is_last_ ? 40'000 : 60'000) * n_);
  expect_mismatch(*group_.make_all_gather({cut(a), cut(b)}));
}

TEST_F(Reading, tells_a_gather_from_a_reduction_of_the_same_rows) {
  std::vector<float> a(100'000 * n_);
  expect_mismatch(is_last_ ? *group_.make_all_gather({cut(a)}) : *group_.make_reduce_scatter({cut(a)}));
}

/// The rank that it was taken from failed and has something to say; the others wait for that.
TEST_F(Reading, waits_where_a_peers_memory_is_gone) {
  std::int64_t const count = 100'000 * n_;
  auto const bytes = static_cast<std::size_t>(count) * sizeof(float);
  auto* const v = static_cast<float*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto const task = group_.make_all_gather({cut({v, static_cast<std::size_t>(count)})});
  task->start();
  world_.barrier();
  if (is_last_) munmap(v, bytes);
  world_.barrier();
  auto const end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  while (!is_last_ && std::chrono::steady_clock::now() < end) {
    ASSERT_FALSE(task->advance());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  world_.barrier();
  if (!is_last_) munmap(v, bytes);
}

}  // namespace
}  // namespace lamina
