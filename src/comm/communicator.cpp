#include "lamina/comm/communicator.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "detail/channel.hpp"
#include "detail/launch.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::comm {

Communicator Communicator::adopt(std::shared_ptr<detail::Channel> channel) {
  Communicator c;
  c.channel_ = std::move(channel);
  return c;
}

Communicator Communicator::world() {
  static Communicator const the_world = [] {
    if (!mpi::available()) return self();
    auto channel = std::make_shared<detail::Channel>();
    channel->comm = mpi::Comm::world();
    channel->rank = channel->comm.rank();
    channel->size = channel->comm.size();
    channel->name = "world";
    detail::check_launch(channel->size);
    if (channel->size > 1) channel->neighbours = detail::find_neighbours(channel->comm);
    return adopt(std::move(channel));
  }();
  return the_world;
}

Communicator Communicator::self() {
  auto channel = std::make_shared<detail::Channel>();
  channel->name = "self";
  return adopt(std::move(channel));
}

int Communicator::rank() const { return channel()->rank; }
int Communicator::size() const { return channel()->size; }
bool Communicator::is_within_reach() const { return size() > 1 && channel()->neighbours.all(); }
std::string const& Communicator::name() const { return channel()->name; }

Communicator Communicator::subgroup(std::span<int const> members, std::string name, int tag) const {
  std::vector<int> sorted(members.begin(), members.end());
  std::sort(sorted.begin(), sorted.end());
  bool const doubled = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  if (doubled || (!sorted.empty() && (sorted.front() < 0 || sorted.back() >= size()))) {
    fail({.code = "comm.group.members",
          .subject = text("group '", name, "'"),
          .found = text("members {", join(members), "}"),
          .expected = text("different ranks of '", this->name(), "', from 0 to ", size() - 1),
          .fix = "list every member once"});
  }
  auto const me = std::find(members.begin(), members.end(), rank());
  if (me == members.end()) return {};
  auto made = std::make_shared<detail::Channel>();
  made->rank = static_cast<int>(me - members.begin());
  made->size = static_cast<int>(members.size());
  made->name = std::move(name);
  if (made->size > 1) {
    made->comm = channel()->comm.group(members, tag % 32768);
    made->neighbours = channel()->neighbours.of(members);
  }
  return adopt(std::move(made));
}

std::vector<int> Communicator::node_members() const {
  return size() > 1 ? channel()->comm.node_members() : std::vector<int>{0};
}

namespace {

void run(std::unique_ptr<device::Task> task) {
  device::Stream stream;
  stream.enqueue(*task);
  stream.wait();
}

TensorRef bytes_ref(std::string const& bytes) {
  return {const_cast<char*>(bytes.data()), {DType::u8, {static_cast<std::int64_t>(bytes.size())}}};
}

TensorRef integer_ref(std::int64_t& x) { return {&x, {DType::i64, {1}}}; }

}  // namespace

void Communicator::barrier() const { run(make_barrier()); }

void Communicator::broadcast_bytes(std::string& bytes, int root) const {
  auto length = static_cast<std::int64_t>(bytes.size());
  run(make_broadcast(integer_ref(length), root));
  bytes.resize(static_cast<std::size_t>(length));
  run(make_broadcast(bytes_ref(bytes), root));
}

std::vector<std::int64_t> Communicator::starts_of(std::int64_t mine) const {
  std::vector<std::int64_t> rows(size() + 1), lengths(size());
  std::iota(rows.begin(), rows.end(), 0);
  run(make_all_gather({{{lengths.data(), {DType::i64, {size()}}}, integer_ref(mine), rows}}));
  rows[0] = 0;
  std::partial_sum(lengths.begin(), lengths.end(), rows.begin() + 1);
  return rows;
}

std::vector<std::string> Communicator::gather_bytes(std::string const& bytes, int root) const {
  auto const rows = starts_of(static_cast<std::int64_t>(bytes.size()));
  if (rank() != root) {
    run(make_send(bytes_ref(bytes), root));
    return {};
  }
  std::vector<std::string> all(size());
  for (int r = 0; r < size(); ++r) {
    if (r == root) {
      all[r] = bytes;
      continue;
    }
    all[r].resize(static_cast<std::size_t>(rows[r + 1] - rows[r]));
    run(make_recv(bytes_ref(all[r]), r));
  }
  return all;
}

std::vector<std::string> Communicator::all_gather_bytes(std::string const& bytes) const {
  auto const rows = starts_of(static_cast<std::int64_t>(bytes.size()));
  std::string joined(static_cast<std::size_t>(rows.back()), '\0');
  run(make_all_gather({{bytes_ref(joined), bytes_ref(bytes), rows}}));
  std::vector<std::string> all;
  for (int r = 0; r < size(); ++r) {
    all.push_back(joined.substr(static_cast<std::size_t>(rows[r]), static_cast<std::size_t>(rows[r + 1] - rows[r])));
  }
  return all;
}

std::int64_t Communicator::all_sum(std::int64_t x) const {
  run(make_all_reduce({integer_ref(x)}, Reduce::sum));
  return x;
}

std::int64_t Communicator::all_max(std::int64_t x) const {
  run(make_all_reduce({integer_ref(x)}, Reduce::max));
  return x;
}

std::int64_t Communicator::all_min(std::int64_t x) const { return ~all_max(~x); }  // ~ reverses the order, no overflow

}  // namespace lamina::comm
