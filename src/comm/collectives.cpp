#include <algorithm>
#include <utility>

#include "detail/channel.hpp"
#include "detail/exchange.hpp"
#include "detail/messages.hpp"
#include "detail/reading_exchange.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/comm/communicator.hpp"

namespace lamina::comm {
namespace {

/// Work of a group of one rank that has nothing to do.
class Nothing final : public device::Task {
 public:
  void start() override {}
  bool advance() override { return true; }
};

void check_dtypes(std::vector<TensorRef> const& tensors, Reduce op, std::string const& group) {
  for (auto const& t : tensors) {
    if (detail::can_combine(t.spec.dtype, op) && t.spec.dtype == tensors[0].spec.dtype) continue;
    fail({.code = "comm.all_reduce.dtype",
          .subject = text("all_reduce of group '", group, "'"),
          .found = text(t.spec, t.spec.dtype == tensors[0].spec.dtype ? "" : text(" beside ", tensors[0].spec)),
          .expected = "f32, bf16, f64 or i64 (i64 not with mean), the same for the whole list",
          .fix = "cast the tensor first, or reduce each type by itself"});
  }
}

/// The share of rank r in [0, count): near equal, cut at multiples of 16 elements.
std::int64_t share_start(std::int64_t count, int ranks, int r) {
  if (r == ranks) return count;
  return (count / ranks * r + std::min<std::int64_t>(r, count % ranks)) / 16 * 16;
}

[[noreturn]] void fail_rows(char const* what, Communicator const& c, RowCut const& cut, RowsOf of) {
  auto const unit = of.flat ? std::string("flat rows") : text("rows of dim ", of.dim);
  fail({.code = text("comm.", what, ".rows"),
        .subject = text(what, " of group '", c.name(), "', rank ", c.rank(), " of ", c.size()),
        .found = text("whole ", cut.whole.spec, ", part ", cut.part.spec, ", ", unit, " {", join(cut.rows), "}"),
        .expected = "size + 1 ascending row numbers inside the whole; the part has this rank's rows and the same dtype",
        .fix = "derive the part's shape from the row table"});
}

/// @throws Error "comm.<what>.rows" when a table, a part or the dim does not fit.
void check_cuts(char const* what, Communicator const& c, std::vector<RowCut> const& cuts, RowsOf of) {
  for (auto const& cut : cuts) {
    auto const& shape = cut.whole.spec.shape;
    auto const& rows = cut.rows;
    bool fits = shape.ndim() > 0 && (of.flat || (of.dim >= 0 && of.dim < shape.ndim())) &&
                std::ssize(rows) == c.size() + 1 && std::is_sorted(rows.begin(), rows.end()) && rows.front() >= 0;
    if (fits) {
      auto const view = detail::view_rows(shape, of);
      auto const needed = view.outer * (rows[c.rank() + 1] - rows[c.rank()]) * view.inner;
      auto const count = cut.part.spec.count();
      fits = rows.back() <= view.rows && (of.flat ? count >= needed : count == needed);
    }
    if (!fits || cut.part.spec.dtype != cut.whole.spec.dtype || cut.whole.spec.dtype != cuts[0].whole.spec.dtype) {
      fail_rows(what, c, cut, of);
    }
  }
}

/// What each rank owns. A segment of this rank joins the whole and the part, in the direction of `gathers`.
std::vector<detail::Share> shares_of(std::vector<RowCut> const& cuts, RowsOf of, int rank, int size, bool gathers) {
  std::vector<detail::Share> shares;
  auto const width = cuts.empty() ? 1 : sizeof_dtype(cuts[0].whole.spec.dtype);
  for (int r = 0; r < size; ++r) {
    auto& share = shares.emplace_back(width, size);
    for (auto const& cut : cuts) {
      auto const view = detail::view_rows(cut.whole.spec.shape, of);
      auto const count = (cut.rows[r + 1] - cut.rows[r]) * view.inner;
      for (std::int64_t o = 0; o < view.outer && count > 0; ++o) {
        auto* const whole = cut.whole.as<char>() + (o * view.rows + cut.rows[r]) * view.inner * width;
        auto* const part = r == rank ? cut.part.as<char>() + o * count * width : nullptr;
        share.add({gathers ? part : whole, gathers ? whole : part, count});
      }
    }
    share.close();
  }
  return shares;
}

std::unique_ptr<device::Task> make_exchange(std::shared_ptr<detail::Channel> const& channel, char const* what,
                                            detail::Exchange::Phases phases, DType dtype, Reduce op,
                                            std::vector<detail::Share> shares) {
  if (detail::ReadingExchange::fits(*channel, shares, sizeof_dtype(dtype))) {
    return std::make_unique<detail::ReadingExchange>(channel, what, phases, dtype, op, std::move(shares));
  }
  return std::make_unique<detail::Exchange>(channel, what, phases, dtype, op, std::move(shares));
}

}  // namespace

std::unique_ptr<device::Task> Communicator::make_all_reduce(std::vector<TensorRef> tensors, Reduce op) const {
  check_dtypes(tensors, op, name());
  std::int64_t count = 0;
  for (auto const& t : tensors) count += t.spec.count();
  if (size() == 1 || count == 0) return std::make_unique<Nothing>();
  auto const dtype = tensors[0].spec.dtype;
  auto const width = sizeof_dtype(dtype);
  if (count * width <= direct_reduction_bytes(size())) {
    return std::make_unique<detail::SmallAllReduce>(channel(), std::move(tensors), op);
  }
  std::vector<detail::Share> shares(size(), detail::Share(width, size()));
  std::int64_t before = 0;  // elements of earlier tensors
  for (auto const& t : tensors) {
    for (int r = 0; r < size(); ++r) {
      auto const first = std::max(share_start(count, size(), r), before);
      auto const last = std::min(share_start(count, size(), r + 1), before + t.spec.count());
      if (first >= last) continue;
      auto* const data = t.as<char>() + (first - before) * width;
      shares[r].add({data, data, last - first});
    }
    before += t.spec.count();
  }
  for (auto& share : shares) share.close();
  return make_exchange(channel(), "all_reduce", {.reduce = true, .gather = true}, dtype, op, std::move(shares));
}

std::unique_ptr<device::Task> Communicator::make_reduce_scatter(std::vector<RowCut> cuts, RowsOf of, Reduce op) const {
  std::vector<TensorRef> wholes;
  for (auto const& cut : cuts) wholes.push_back(cut.whole);
  check_dtypes(wholes, op, name());
  check_cuts("reduce_scatter", *this, cuts, of);
  return make_exchange(channel(), "reduce_scatter", {.reduce = true, .gather = false},
                       cuts.empty() ? DType::f32 : cuts[0].whole.spec.dtype, op,
                       shares_of(cuts, of, rank(), size(), /*gathers=*/false));
}

std::unique_ptr<device::Task> Communicator::make_all_gather(std::vector<RowCut> cuts, RowsOf of) const {
  check_cuts("all_gather", *this, cuts, of);
  return make_exchange(channel(), "all_gather", {.reduce = false, .gather = true},
                       cuts.empty() ? DType::f32 : cuts[0].whole.spec.dtype, Reduce::sum,
                       shares_of(cuts, of, rank(), size(), /*gathers=*/true));
}

std::unique_ptr<device::Task> Communicator::make_broadcast(TensorRef t, int root) const {
  check_peer(root, "broadcast");
  return std::make_unique<detail::Broadcast>(channel(), t, root);
}

std::unique_ptr<device::Task> Communicator::make_send(TensorRef t, int peer) const {
  check_peer(peer, "send");
  return std::make_unique<detail::Message>(channel(), detail::Message::Way::send, t, peer);
}

std::unique_ptr<device::Task> Communicator::make_recv(TensorRef t, int peer) const {
  check_peer(peer, "recv");
  return std::make_unique<detail::Message>(channel(), detail::Message::Way::recv, t, peer);
}

std::unique_ptr<device::Task> Communicator::make_barrier() const {
  return std::make_unique<detail::Barrier>(channel());
}

void Communicator::check_peer(int peer, char const* what) const {
  // A send to oneself would need a buffer that nobody planned.
  bool const lone_root = std::string_view(what) == "broadcast";
  if (peer >= 0 && peer < size() && (lone_root || peer != rank())) return;
  fail({.code = text("comm.", what, ".peer"),
        .subject = text(what, " of group '", name(), "', rank ", rank(), " of ", size()),
        .found = text("peer ", peer),
        .expected = text("a rank of the group, 0 to ", size() - 1, lone_root ? "" : ", not this one"),
        .fix = "give the index in the group's members, not the world rank"});
}

void Communicator::all_reduce(device::Stream& stream, TensorRef t, Reduce op) {
  stream.enqueue(make_all_reduce({t}, op));
}

void Communicator::reduce_scatter(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows) {
  stream.enqueue(make_reduce_scatter({{in, out, std::move(rows)}}));
}

void Communicator::all_gather(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows) {
  stream.enqueue(make_all_gather({{out, in, std::move(rows)}}));
}

void Communicator::broadcast(device::Stream& stream, TensorRef t, int root) { stream.enqueue(make_broadcast(t, root)); }

}  // namespace lamina::comm
