// The conformance suite of collectives: what every transport has to fulfil, on any number of ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "lamina/base/error.hpp"
#include "support/comm_cases.hpp"

namespace lamina {
namespace {

using comm::Reduce;
using test::ref;

// Empty, scalar, few, odd, one and just above the small path's 4,096, primes, several pieces per rank.
constexpr std::int64_t counts[] = {0, 1, 7, 1025, 4096, 4097, 30011, 262144, 2000003};

class Collectives : public ::testing::TestWithParam<test::Kind> {
 protected:
  comm::Communicator group_ = test::make(GetParam());
  int n_ = group_.size(), rank_ = group_.rank();
};

TEST_P(Collectives, all_reduce_sums_what_each_rank_contributed) {
  device::Stream stream;
  for (auto const count : counts) {
    std::vector<float> v(count);
    for (std::int64_t i = 0; i < count; ++i) v[i] = static_cast<float>(i % 13 + rank_);
    group_.all_reduce(stream, ref(v, DType::f32));
    stream.wait();
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < count; ++i) wrong += v[i] != static_cast<float>(n_ * (i % 13) + n_ * (n_ - 1) / 2);
    EXPECT_EQ(wrong, 0) << "count " << count << " rank " << rank_;
  }
}

TEST_P(Collectives, all_reduce_adds_in_rank_order_so_that_all_ranks_get_the_same_bits) {
  device::Stream stream;
  for (auto const count : counts) {
    std::vector<float> v(count);
    for (std::int64_t i = 0; i < count; ++i) v[i] = test::odd_value(i, rank_);
    group_.all_reduce(stream, ref(v, DType::f32));
    stream.wait();
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      float sum = test::odd_value(i, 0);
      for (int r = 1; r < n_; ++r) sum += test::odd_value(i, r);
      wrong += v[i] != sum;
    }
    EXPECT_EQ(wrong, 0) << "count " << count << " rank " << rank_;
  }
}

TEST_P(Collectives, all_reduce_knows_f64_i64_bf16_maximum_and_mean) {
  device::Stream stream;
  for (std::int64_t const count : {3, 20011}) {
    std::vector<double> d(count, 1 + 1e-12 * rank_);
    std::vector<std::int64_t> i(count, (std::int64_t{1} << 53) + rank_), m(count, -rank_);
    std::vector<std::uint16_t> b(count, test::bf16(1.5f));
    std::vector<float> mean(count, static_cast<float>(rank_)), max(count, static_cast<float>(-rank_));
    group_.all_reduce(stream, ref(d, DType::f64));
    group_.all_reduce(stream, ref(i, DType::i64));
    group_.all_reduce(stream, ref(m, DType::i64), Reduce::max);
    group_.all_reduce(stream, ref(b, DType::bf16));
    group_.all_reduce(stream, ref(mean, DType::f32), Reduce::mean);
    group_.all_reduce(stream, ref(max, DType::f32), Reduce::max);
    stream.wait();
    EXPECT_NEAR(d.back(), n_ + 1e-12 * n_ * (n_ - 1) / 2, 1e-15);
    EXPECT_EQ(i.back(), n_ * (std::int64_t{1} << 53) + n_ * (n_ - 1) / 2);
    EXPECT_EQ(m.back(), 0);
    EXPECT_EQ(b.back(), test::bf16(1.5f * static_cast<float>(n_)));
    EXPECT_EQ(mean.back(), static_cast<float>(n_ - 1) / 2);
    EXPECT_EQ(max.back(), 0.0f);
  }
}

TEST_P(Collectives, all_reduce_passes_nan_on_to_every_rank) {
  device::Stream stream;
  for (auto const op : {Reduce::sum, Reduce::max}) {
    std::vector<float> v(5, 1);
    if (rank_ == n_ - 1) v[3] = std::numeric_limits<float>::quiet_NaN();
    group_.all_reduce(stream, ref(v, DType::f32), op);
    stream.wait();
    EXPECT_TRUE(std::isnan(v[3]));
    EXPECT_FALSE(std::isnan(v[2]));
  }
}

TEST_P(Collectives, all_reduce_takes_a_list_as_one_tensor) {
  device::Stream stream;
  for (std::int64_t const unit : {1, 997, 100003}) {  // all to all; shares inside tensors; shares across tensors
    std::vector<float> a(unit), none, b(3 * unit), c(unit + 1);
    std::vector<TensorRef> list;
    for (auto* v : {&a, &none, &b, &c}) {
      for (std::size_t i = 0; i < v->size(); ++i) (*v)[i] = test::odd_value(static_cast<std::int64_t>(i), rank_);
      list.push_back(ref(*v, DType::f32));
    }
    stream.enqueue(group_.make_all_reduce(list));
    stream.wait();
    std::int64_t wrong = 0;
    for (auto const* v : {&a, &b, &c}) {
      for (std::size_t i = 0; i < v->size(); ++i) {
        float sum = 0;
        for (int r = 0; r < n_; ++r) sum += test::odd_value(static_cast<std::int64_t>(i), r);
        wrong += std::abs((*v)[i] - sum) > 1e-6f;
      }
    }
    EXPECT_EQ(wrong, 0) << unit;
  }
}

TEST_P(Collectives, all_reduce_can_be_made_once_and_run_often) {
  device::Service service;
  device::Stream stream(service);
  std::vector<float> large(50001), small(3);
  auto const a = group_.make_all_reduce({ref(large, DType::f32)}), b = group_.make_all_reduce({ref(small, DType::f32)});
  for (int round = 1; round < 6; ++round) {
    std::fill(large.begin(), large.end(), static_cast<float>(round));
    std::fill(small.begin(), small.end(), static_cast<float>(10 * round));
    stream.enqueue(*a);
    stream.enqueue(*b);
    stream.wait();
    EXPECT_EQ(large[50000], static_cast<float>(n_ * round));
    EXPECT_EQ(small[2], static_cast<float>(10 * n_ * round));
  }
}

TEST_P(Collectives, all_reduce_refuses_types_before_anything_is_sent) {
  device::Stream stream;
  std::vector<std::int32_t> ints(3);
  std::vector<std::int64_t> longs(3);
  std::vector<float> floats(3);
  auto const code_of = [](auto&& make) -> std::string {
    try {
      make();
    } catch (Error const& e) {
      return e.info().code;
    }
    return "";
  };
  EXPECT_EQ(code_of([&] { group_.all_reduce(stream, ref(ints, DType::i32)); }), "comm.all_reduce.dtype");
  EXPECT_EQ(code_of([&] { group_.all_reduce(stream, ref(longs, DType::i64), Reduce::mean); }), "comm.all_reduce.dtype");
  EXPECT_EQ(code_of([&] {
              group_.make_all_reduce({ref(floats, DType::f32), ref(longs, DType::i64)});
            }),
            "comm.all_reduce.dtype");
}

/// Row tables: equal shares, unequal ones, all on the last rank, all empty.
std::vector<std::vector<std::int64_t>> row_tables(int n) {
  std::vector<std::int64_t> equal{0}, growing{0}, last(n + 1, 0);
  for (int r = 0; r < n; ++r) equal.push_back(4 * (r + 1)), growing.push_back(growing.back() + r);
  last.back() = 17;
  return {equal, growing, last, std::vector<std::int64_t>(n + 1, 0)};
}

TEST_P(Collectives, reduce_scatter_leaves_each_rank_the_sum_of_its_rows) {
  device::Stream stream;
  for (auto const& rows : row_tables(n_)) {
    for (std::int64_t const columns : {1, 33, 70001}) {
      std::vector<float> in(rows.back() * columns), out((rows[rank_ + 1] - rows[rank_]) * columns, -1);
      for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(static_cast<int>(i % 101) + rank_);
      auto const before = in;
      group_.reduce_scatter(stream, {in.data(), {DType::f32, {rows.back(), columns}}},
                            {out.data(), {DType::f32, {rows[rank_ + 1] - rows[rank_], columns}}}, rows);
      stream.wait();
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < out.size(); ++i) {
        auto const at = rows[rank_] * columns + static_cast<std::int64_t>(i);
        wrong += out[i] != static_cast<float>(n_ * (at % 101) + n_ * (n_ - 1) / 2);
      }
      EXPECT_EQ(wrong, 0) << "columns " << columns << " rank " << rank_;
      EXPECT_EQ(in, before);
    }
  }
}

TEST_P(Collectives, all_gather_brings_every_rank_all_rows_and_reduce_scatter_undoes_it) {
  device::Stream stream;
  for (auto const& rows : row_tables(n_)) {
    for (std::int64_t const columns : {1, 70001}) {
      auto const mine = rows[rank_ + 1] - rows[rank_];
      std::vector<float> in(mine * columns), out(rows.back() * columns, -1);
      for (std::size_t i = 0; i < in.size(); ++i) {
        in[i] = test::odd_value(rows[rank_] * columns + static_cast<std::int64_t>(i), 0);
      }
      TensorRef const part{in.data(), {DType::f32, {mine, columns}}},
          whole{out.data(), {DType::f32, {rows.back(), columns}}};
      group_.all_gather(stream, part, whole, rows);
      stream.wait();
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < out.size(); ++i) {
        wrong += out[i] != test::odd_value(static_cast<std::int64_t>(i), 0);
      }
      EXPECT_EQ(wrong, 0) << "columns " << columns << " rank " << rank_;
    }
  }
}

/// Where an element of a list lies, in all: unequal rows, an empty tensor, parts of nothing, small ones beside large
/// ones. Units in which `rows` counts: dim 1 of [2, rows, columns], or flat rows.
struct ListCase {
  comm::RowsOf of;
  std::vector<std::vector<std::int64_t>> rows;
  std::vector<std::int64_t> columns;
};

std::vector<ListCase> list_cases(int n) {
  auto const tables = row_tables(n);  // equal, growing, all on the last rank, none
  std::vector<ListCase> cases;
  for (auto const of : {comm::RowsOf{}, comm::RowsOf{.dim = 1}, comm::RowsOf{.flat = true}}) {
    cases.push_back({of, {tables[0], tables[1], tables[3], tables[2]}, {5, 70001, 3, 33}});
    cases.push_back({of, std::vector(40, tables[0]), std::vector<std::int64_t>(40, 37)});
  }
  return cases;
}

/// A tensor of a case in memory: [2, rows, columns] for dim 1, else [rows, columns]; of one dim where that is one
/// column.
struct ListTensor {
  ListTensor(ListCase const& c, std::size_t i, int rank) : outer(c.of.dim == 1 ? 2 : 1), columns(c.columns[i]) {
    rows = c.rows[i].back(), first = c.rows[i][rank], own = c.rows[i][rank + 1] - first;
    whole.resize(outer * rows * columns), part.resize(outer * own * columns);
  }
  Shape shape(std::int64_t of_rows) const {
    return outer == 2 ? Shape{2, of_rows, columns} : columns == 1 ? Shape{of_rows} : Shape{of_rows, columns};
  }
  /// Index in the whole of element i of the part.
  std::int64_t place(std::int64_t i) const {
    auto const row = i / columns;
    return (row / own * rows + first + row % own) * columns + i % columns;
  }
  std::int64_t outer, columns, rows = 0, first = 0, own = 0;
  std::vector<float> whole, part;
};

TEST_P(Collectives, lists_are_scattered_and_gathered_by_rows_of_any_dim) {
  device::Stream stream;
  for (auto const& c : list_cases(n_)) {
    std::vector<ListTensor> list;
    std::vector<comm::RowCut> cuts;
    for (std::size_t i = 0; i < c.rows.size(); ++i) list.emplace_back(c, i, rank_);
    for (std::size_t i = 0; i < list.size(); ++i) {
      auto& t = list[i];
      for (std::size_t k = 0; k < t.whole.size(); ++k)
        t.whole[k] = test::odd_value(static_cast<std::int64_t>(k), rank_);
      cuts.push_back(
          {{t.whole.data(), {DType::f32, t.shape(t.rows)}}, {t.part.data(), {DType::f32, t.shape(t.own)}}, c.rows[i]});
    }
    stream.enqueue(group_.make_reduce_scatter(cuts, c.of));
    stream.wait();
    std::int64_t wrong = 0;
    for (auto& t : list) {
      for (std::size_t k = 0; k < t.part.size(); ++k) {
        auto const at = t.place(static_cast<std::int64_t>(k));
        float sum = test::odd_value(at, 0);
        for (int r = 1; r < n_; ++r) sum += test::odd_value(at, r);
        wrong += t.part[k] != sum;
        t.part[k] = test::odd_value(at, 99);
      }
    }
    EXPECT_EQ(wrong, 0) << "scattered: dim " << c.of.dim << " flat " << c.of.flat << " rank " << rank_;
    stream.enqueue(group_.make_all_gather(cuts, c.of));
    stream.wait();
    wrong = 0;
    for (auto const& t : list) {
      for (std::size_t k = 0; k < t.whole.size(); ++k) {
        wrong += t.whole[k] != test::odd_value(static_cast<std::int64_t>(k), 99);
      }
    }
    EXPECT_EQ(wrong, 0) << "gathered: dim " << c.of.dim << " flat " << c.of.flat << " rank " << rank_;
  }
}

TEST_P(Collectives, lists_are_scattered_and_gathered_in_place) {
  device::Stream stream;
  for (bool const flat : {false, true}) {
    for (auto const& rows : row_tables(n_)) {
      auto const count = rows.back() * 6;
      std::vector<float> a(count);
      std::vector<std::uint16_t> b(count);
      for (std::int64_t i = 0; i < count; ++i)
        a[i] = test::odd_value(i, rank_), b[i] = test::bf16(static_cast<float>(rank_ + 1));
      auto const before = a;
      auto const cut = [&](auto& v, DType dtype) -> comm::RowCut {  // [rows, 3, 2]; as flat rows 3 times as many
        auto table = rows;
        if (flat) std::transform(table.begin(), table.end(), table.begin(), [](auto r) { return 3 * r; });
        auto const own = rows[rank_ + 1] - rows[rank_];
        auto const shape = flat ? Shape{3 * own, 2} : Shape{own, 3, 2};
        return {{v.data(), {dtype, {rows.back(), 3, 2}}}, {v.data() + rows[rank_] * 6, {dtype, shape}}, table};
      };
      stream.enqueue(group_.make_reduce_scatter({cut(a, DType::f32)}, {.flat = flat}));
      stream.enqueue(group_.make_reduce_scatter({cut(b, DType::bf16)}, {.flat = flat}));
      stream.wait();
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        bool const own = i >= 6 * rows[rank_] && i < 6 * rows[rank_ + 1];
        float sum = test::odd_value(i, 0);
        for (int r = 1; r < n_; ++r) sum += test::odd_value(i, r);
        wrong += a[i] != (own ? sum : before[i]);
        wrong += own && b[i] != test::bf16(static_cast<float>(n_ * (n_ + 1) / 2));
      }
      stream.enqueue(group_.make_all_gather({cut(a, DType::f32)}, {.flat = flat}));
      stream.enqueue(group_.make_all_gather({cut(b, DType::bf16)}, {.flat = flat}));
      stream.wait();
      for (std::int64_t i = 6 * rows[0]; i < count; ++i) {
        float sum = test::odd_value(i, 0);
        for (int r = 1; r < n_; ++r) sum += test::odd_value(i, r);
        wrong += a[i] != sum || b[i] != test::bf16(static_cast<float>(n_ * (n_ + 1) / 2));
      }
      EXPECT_EQ(wrong, 0) << "flat " << flat << " rank " << rank_;
    }
  }
}

TEST_P(Collectives, the_listing_of_tensors_does_not_change_the_bits_of_a_sum) {
  device::Stream stream;
  constexpr std::int64_t unit = 24 * 1009;
  std::vector<float> one(4 * unit), many(4 * unit);
  for (std::int64_t i = 0; i < 4 * unit; ++i) one[i] = many[i] = test::odd_value(i, rank_);
  auto const cut = [&](std::vector<float>& v, std::int64_t from, std::int64_t count, int parts) -> comm::RowCut {
    std::vector<std::int64_t> rows(n_ + 1, 0);
    for (int r = 1; r <= n_; ++r) rows[r] = r * parts / n_;
    auto const width = count / parts;
    return {{v.data() + from, {DType::f32, {parts, width}}},
            {v.data() + from + rows[rank_] * width, {DType::f32, {rows[rank_ + 1] - rows[rank_], width}}},
            rows};
  };
  stream.enqueue(group_.make_reduce_scatter({cut(one, 0, 4 * unit, 12)}));
  stream.enqueue(group_.make_all_gather({cut(one, 0, 4 * unit, 12)}));
  std::vector<comm::RowCut> cuts;
  for (int k = 0; k < 4; ++k) cuts.push_back(cut(many, k * unit, unit, 24));
  stream.enqueue(group_.make_reduce_scatter(cuts));
  stream.enqueue(group_.make_all_gather(cuts));
  stream.wait();
  EXPECT_EQ(one, many);
}

TEST_P(Collectives, row_tables_that_do_not_fit_are_refused) {
  device::Stream stream;
  std::vector<float> whole(8), part(8);
  auto const code_of = [&](std::vector<std::int64_t> rows, std::int64_t part_rows) -> std::string {
    try {
      group_.all_gather(stream, {part.data(), {DType::f32, {part_rows}}}, ref(whole, DType::f32), std::move(rows));
    } catch (Error const& e) {
      return e.info().code;
    }
    return "";
  };
  std::vector<std::int64_t> fits(n_ + 1, 0), beyond = fits, falling = fits;
  beyond.back() = 9, falling.front() = 1;
  EXPECT_EQ(code_of(fits, 1), "comm.all_gather.rows");  // the part has a row too many
  EXPECT_EQ(code_of({0}, 0), "comm.all_gather.rows");   // too short
  EXPECT_EQ(code_of(beyond, rank_ == n_ - 1 ? 9 : 0), "comm.all_gather.rows");
  EXPECT_EQ(code_of(falling, 0), "comm.all_gather.rows");
  auto const code_of_cut = [&](TensorRef w, TensorRef p, comm::RowsOf of) -> std::string {
    try {
      group_.make_reduce_scatter({{w, p, fits}}, of);
    } catch (Error const& e) {
      return e.info().code;
    }
    return "";
  };
  TensorRef const matrix{whole.data(), {DType::f32, {2, 4}}}, none{part.data(), {DType::f32, {0, 4}}};
  EXPECT_EQ(code_of_cut(matrix, none, {}), "");
  EXPECT_EQ(code_of_cut(matrix, none, {.dim = 2}), "comm.reduce_scatter.rows");
  EXPECT_EQ(code_of_cut(matrix, {part.data(), {DType::f32, {2, 1}}}, {.dim = 1}), "comm.reduce_scatter.rows");
  EXPECT_EQ(code_of_cut(matrix, {part.data(), {DType::f32, {1, 4}}}, {.flat = true}), "");  // longer than its rows
  EXPECT_EQ(code_of_cut({whole.data(), {DType::f32, {}}}, none, {}), "comm.reduce_scatter.rows");
}

TEST_P(Collectives, broadcast_copies_the_root_to_all) {
  device::Stream stream;
  for (auto const count : counts) {
    for (int root = 0; root < n_; root += std::max(1, n_ - 1)) {
      std::vector<float> v(count);
      for (std::int64_t i = 0; i < count; ++i) v[i] = rank_ == root ? test::odd_value(i, root) : -7.0f;
      group_.broadcast(stream, ref(v, DType::f32), root);
      stream.wait();
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < count; ++i) wrong += v[i] != test::odd_value(i, root);
      EXPECT_EQ(wrong, 0) << "count " << count << " root " << root << " rank " << rank_;
    }
  }
}

TEST_P(Collectives, messages_arrive_in_order_around_a_ring) {
  if (n_ == 1) GTEST_SKIP() << "a ring needs two ranks";
  device::Service service;
  device::Stream out(service), in(service);  // one stream for both would wait for itself
  int const next = (rank_ + 1) % n_, before = (rank_ + n_ - 1) % n_;
  std::vector<std::vector<float>> sent, got;
  std::vector<std::unique_ptr<device::Task>> tasks;
  for (std::int64_t const count : {0, 1, 1000, 300007}) {
    sent.emplace_back(count, static_cast<float>(rank_) + static_cast<float>(count));
    got.emplace_back(count);
  }
  for (std::size_t i = 0; i < sent.size(); ++i) {
    tasks.push_back(group_.make_send(ref(sent[i], DType::f32), next));
    out.enqueue(*tasks.back());
    tasks.push_back(group_.make_recv(ref(got[i], DType::f32), before));
    in.enqueue(*tasks.back());
  }
  in.wait();
  out.wait();
  for (auto const& v : got) {
    EXPECT_EQ(v, std::vector<float>(v.size(), static_cast<float>(before) + static_cast<float>(v.size())));
  }
}

TEST_P(Collectives, on_different_groups_run_beside_each_other) {
  device::Service service;
  device::Stream here(service), there(service);
  auto world = comm::Communicator::world();
  std::vector<float> a(40000, 1), b(40000, 2);
  for (int round = 0; round < 5; ++round) {
    std::fill(a.begin(), a.end(), 1.0f);
    std::fill(b.begin(), b.end(), 2.0f);
    if (GetParam() == test::Kind::world) continue;
    // Even and odd ranks start in opposite orders: the groups do not wait for each other.
    if (world.rank() % 2) group_.all_reduce(here, ref(a, DType::f32));
    world.all_reduce(there, ref(b, DType::f32));
    if (world.rank() % 2 == 0) group_.all_reduce(here, ref(a, DType::f32));
    here.wait();
    there.wait();
    EXPECT_EQ(a[39999], static_cast<float>(n_));
    EXPECT_EQ(b[39999], static_cast<float>(2 * world.size()));
  }
}

TEST_P(Collectives, two_at_once_in_one_group_are_refused_and_the_first_one_goes_on) {
  auto const first = group_.make_barrier(), second = group_.make_barrier();
  first->start();
  EXPECT_THROW(second->start(), Error);
  while (!first->advance()) std::this_thread::yield();
  group_.barrier();
}

INSTANTIATE_TEST_SUITE_P(mpi, Collectives,
                         ::testing::Values(test::Kind::world, test::Kind::reversed, test::Kind::half, test::Kind::self),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace lamina
