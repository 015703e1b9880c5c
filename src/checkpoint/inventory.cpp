#include "checkpoint/detail/inventory.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "checkpoint/detail/piece.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::checkpoint::detail {
namespace {

struct Owned {
  int rank;
  io::Box box;
};

struct Tensor {
  TensorSpec spec;
  int first_rank = 0;
  std::vector<Owned> owned;
};

class Writer {
 public:
  void number(std::int64_t x) { bytes_.append(reinterpret_cast<char const*>(&x), sizeof x); }
  void string(std::string const& s) { number(static_cast<std::int64_t>(s.size())), bytes_ += s; }
  void shape(Shape const& s) {
    number(s.ndim());
    for (auto const extent : s.extents()) number(extent);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string const& bytes) : bytes_(bytes) {}
  bool done() const { return at_ == bytes_.size(); }
  std::int64_t number() {
    std::int64_t x = 0;
    std::memcpy(&x, bytes_.data() + at_, sizeof x);
    at_ += sizeof x;
    return x;
  }
  std::string string() {
    auto const size = static_cast<std::size_t>(number());
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  Shape shape() {
    Shape s;
    for (auto n = number(); n > 0; --n) s.push_back(number());
    return s;
  }

 private:
  std::string const& bytes_;
  std::size_t at_ = 0;
};

void require_one_owner(std::string const& label, Tensor const& t) {
  auto const complain = [&](std::string found) {
    fail({.code = "checkpoint.save.owners",
          .subject = label,
          .found = std::move(found),
          .expected = "one owner over all ranks for each element",
          .fix = "give replicas their share with checkpoint::split_among_replicas"});
  };
  for (std::size_t i = 0; i < t.owned.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (io::overlap(t.owned[i].box, t.owned[j].box))
        complain(text("ranks ", t.owned[j].rank, " and ", t.owned[i].rank, " own the same elements"));
    }
  }
  std::int64_t count = 0;
  for (auto const& o : t.owned) count += o.box.extent.count();
  if (count != t.spec.count()) complain(text(count, " of ", t.spec.count(), " elements have an owner"));
}

}  // namespace

void require_sound(std::vector<Piece> const& pieces) {
  for (auto const& p : pieces) {
    if (auto const problem = problem_of_name(p.name); !problem.empty()) {
      fail({.code = "checkpoint.save.name",
            .subject = text("tensor name '", p.name, "'"),
            .found = problem,
            .expected = "1 to 512 printable characters without '/' and spaces",
            .fix = "rename the layer"});
    }
    auto const path = dataset_path(p.role, p.name);
    auto const boxes = boxes_of(p);
    io::runs_of(path, p.global_shape, boxes);
    auto const wanted = io::count_of(p.global_shape, boxes);
    if (p.memory.spec.count() == wanted && (p.memory.data != nullptr || wanted == 0)) continue;
    fail({.code = "checkpoint.save.memory",
          .subject = path,
          .found = text("memory for ", p.memory.spec, p.memory.data == nullptr ? " at no address" : ""),
          .expected = text(wanted, " elements: the slabs of ", p.global_shape, " stacked"),
          .fix = "correct the layout that made the piece"});
  }
}

std::string pack_owned(std::vector<Piece> const& pieces) {
  Writer w;
  for (auto const& p : pieces) {
    if (!p.owner) continue;
    auto const boxes = explicit_boxes_of(p);
    w.string(p.name);
    w.number(static_cast<std::int64_t>(p.role));
    w.number(static_cast<std::int64_t>(p.memory.spec.dtype));
    w.shape(p.global_shape);
    w.number(static_cast<std::int64_t>(boxes.size()));
    for (auto const& box : boxes) w.shape(box.offset), w.shape(box.extent);
  }
  return w.take();
}

std::vector<TensorEntry> merge_owned(std::vector<std::string> const& packed) {
  std::map<std::pair<Role, std::string>, Tensor> tensors;
  for (int rank = 0; rank < static_cast<int>(packed.size()); ++rank) {
    for (Reader r(packed[static_cast<std::size_t>(rank)]); !r.done();) {
      auto const name = r.string();
      auto const role = static_cast<Role>(r.number());
      TensorSpec spec{.dtype = static_cast<DType>(r.number()), .shape = {}};
      spec.shape = r.shape();
      auto const [it, fresh] = tensors.try_emplace({role, name}, Tensor{.spec = spec, .first_rank = rank, .owned = {}});
      auto& t = it->second;
      if (t.spec != spec) {
        fail({.code = "checkpoint.save.shape",
              .subject = dataset_path(role, name),
              .found = text(t.spec, " on rank ", t.first_rank, ", ", spec, " on rank ", rank),
              .expected = "one dtype and global shape on all ranks",
              .fix = "report this as a bug: the ranks' programs do not agree"});
      }
      for (auto n = r.number(); n > 0; --n) {
        auto const offset = r.shape();
        t.owned.push_back({.rank = rank, .box = {.offset = offset, .extent = r.shape()}});
      }
    }
  }
  std::vector<TensorEntry> entries;
  for (auto const& [key, t] : tensors) {
    require_one_owner(dataset_path(key.first, key.second), t);
    entries.push_back({.name = key.second, .role = key.first, .spec = t.spec, .file = 0, .offset = 0, .checksum = {}});
  }
  return entries;
}

void assign_files(std::vector<TensorEntry>& tensors, std::int64_t files) {
  auto const n =
      std::clamp<std::int64_t>(files, 1, std::max<std::int64_t>(1, static_cast<std::int64_t>(tensors.size())));
  std::vector<std::int64_t> filled(static_cast<std::size_t>(n), 0);
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return tensors[a].spec.bytes() > tensors[b].spec.bytes(); });
  for (auto const i : order) {
    auto const emptiest = std::min_element(filled.begin(), filled.end());
    *emptiest += std::max<std::int64_t>(1, tensors[i].spec.bytes());
    tensors[i].file = static_cast<int>(emptiest - filled.begin());
  }
}

}  // namespace lamina::checkpoint::detail
