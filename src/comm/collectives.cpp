#include <algorithm>
#include <utility>

#include "detail/channel.hpp"
#include "detail/exchange.hpp"
#include "detail/messages.hpp"
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

/// Cuts rows [first, first + count) of elements that start at `from` and `to` into pieces.
void add_pieces(std::vector<detail::Piece>& pieces, char const* from, char* to, std::int64_t count, std::int64_t width,
                std::int64_t most) {
  for (std::int64_t at = 0; at < count; at += most) {
    pieces.push_back({from ? from + at * width : nullptr, to ? to + at * width : nullptr, std::min(most, count - at)});
  }
}

struct RowShares {
  std::int64_t row_count;  // elements of a row
  bool fits;
};

RowShares check_rows(TensorRef const& whole, TensorRef const& part, std::vector<std::int64_t> const& rows, int rank,
                     int size) {
  auto const& shape = whole.spec.shape;
  auto const row_count = shape.ndim() > 0 ? shape.count(1, shape.ndim()) : 1;
  bool const table = std::ssize(rows) == size + 1 && std::is_sorted(rows.begin(), rows.end()) && rows.front() >= 0 &&
                     shape.ndim() > 0 && rows.back() <= shape[0];
  return {row_count, table && part.spec.dtype == whole.spec.dtype &&
                         part.spec.count() == (rows[rank + 1] - rows[rank]) * row_count};
}

[[noreturn]] void fail_rows(char const* what, Communicator const& c, TensorRef const& whole, TensorRef const& part,
                            std::vector<std::int64_t> const& rows) {
  fail({.code = text("comm.", what, ".rows"),
        .subject = text(what, " of group '", c.name(), "', rank ", c.rank(), " of ", c.size()),
        .found = text("whole ", whole.spec, ", part ", part.spec, ", rows {", join(rows), "}"),
        .expected = "size + 1 ascending row numbers inside the whole; the part has this rank's rows and the same dtype",
        .fix = "derive the part's shape from the row table"});
}

}  // namespace

std::unique_ptr<device::Task> Communicator::make_all_reduce(std::vector<TensorRef> tensors, Reduce op) const {
  check_dtypes(tensors, op, name());
  std::int64_t count = 0;
  for (auto const& t : tensors) count += t.spec.count();
  if (size() == 1 || count == 0) return std::make_unique<Nothing>();
  auto const dtype = tensors[0].spec.dtype;
  auto const width = sizeof_dtype(dtype), most = reduction_piece_bytes(size()) / width;
  if (count * width <= small_reduction_bytes) {
    return std::make_unique<detail::SmallAllReduce>(channel(), std::move(tensors), op);
  }
  std::vector<std::vector<detail::Piece>> shares(size());
  std::int64_t before = 0;  // elements of earlier tensors
  for (auto const& t : tensors) {
    for (int r = 0; r < size(); ++r) {
      auto const first = std::max(share_start(count, size(), r), before);
      auto const last = std::min(share_start(count, size(), r + 1), before + t.spec.count());
      if (first >= last) continue;
      auto* const data = t.as<char>() + (first - before) * width;
      add_pieces(shares[r], data, data, last - first, width, most);
    }
    before += t.spec.count();
  }
  return std::make_unique<detail::Exchange>(channel(), "all_reduce", detail::Exchange::Phases{true, true}, dtype, op,
                                            std::move(shares));
}

std::unique_ptr<device::Task> Communicator::make_reduce_scatter(TensorRef in, TensorRef out,
                                                                std::vector<std::int64_t> rows) const {
  check_dtypes({in}, Reduce::sum, name());
  auto const [row, fits] = check_rows(in, out, rows, rank(), size());
  if (!fits) fail_rows("reduce_scatter", *this, in, out, rows);
  auto const width = sizeof_dtype(in.spec.dtype), most = reduction_piece_bytes(size()) / width;
  std::vector<std::vector<detail::Piece>> shares(size());
  for (int r = 0; r < size(); ++r) {
    add_pieces(shares[r], in.as<char>() + rows[r] * row * width, r == rank() ? out.as<char>() : nullptr,
               (rows[r + 1] - rows[r]) * row, width, most);
  }
  return std::make_unique<detail::Exchange>(channel(), "reduce_scatter", detail::Exchange::Phases{true, false},
                                            in.spec.dtype, Reduce::sum, std::move(shares));
}

std::unique_ptr<device::Task> Communicator::make_all_gather(TensorRef in, TensorRef out,
                                                            std::vector<std::int64_t> rows) const {
  auto const [row, fits] = check_rows(out, in, rows, rank(), size());
  if (!fits) fail_rows("all_gather", *this, out, in, rows);
  auto const width = sizeof_dtype(in.spec.dtype), most = reduction_piece_bytes(size()) / width;
  std::vector<std::vector<detail::Piece>> shares(size());
  for (int r = 0; r < size(); ++r) {
    add_pieces(shares[r], r == rank() ? in.as<char>() : nullptr, out.as<char>() + rows[r] * row * width,
               (rows[r + 1] - rows[r]) * row, width, most);
  }
  return std::make_unique<detail::Exchange>(channel(), "all_gather", detail::Exchange::Phases{false, true},
                                            in.spec.dtype, Reduce::sum, std::move(shares));
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
  stream.enqueue(make_reduce_scatter(in, out, std::move(rows)));
}

void Communicator::all_gather(device::Stream& stream, TensorRef in, TensorRef out, std::vector<std::int64_t> rows) {
  stream.enqueue(make_all_gather(in, out, std::move(rows)));
}

void Communicator::broadcast(device::Stream& stream, TensorRef t, int root) { stream.enqueue(make_broadcast(t, root)); }

}  // namespace lamina::comm
