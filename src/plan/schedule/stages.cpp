#include "plan/detail/stages.hpp"

#include <algorithm>
#include <bit>
#include <compare>
#include <limits>
#include <numeric>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/schedule.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {
namespace {

using Index = std::size_t;

/// Consecutive layers into a number of stages, none empty.
class Partition {
 public:
  Partition(std::vector<LayerCost> const& layers, Index stages) : layers_(layers), stages_(stages), sums_{0} {
    for (auto const& l : layers) sums_.push_back(sums_.back() + l.cost);
  }

  /// First layer of each stage.
  std::vector<Index> run() const {
    std::int64_t low = 0, high = sums_.back();
    while (low < high) {  // the smallest slowest stage
      auto const middle = low + (high - low) / 2;
      if (fits(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return cut(low);
  }

 private:
  std::int64_t cost(Index from, Index to) const { return sums_[to] - sums_[from]; }

  /// Stages of at most `most` each: as few as possible are no more than those wanted. (More are made by cutting on.)
  bool fits(std::int64_t most) const {
    Index count = 0;
    for (Index from = 0; from < layers_.size(); ++count) {
      Index to = from;
      while (to < layers_.size() && cost(from, to + 1) <= most) ++to;
      if (to == from) return false;
      from = to;
    }
    return count <= stages_;
  }

  bool is_inside_a_block(Index first) const {
    auto const& path = layers_[first].path;
    return is_block(path) && block_of(layers_[first - 1].path) == block_of(path);
  }

  /// Among the cuts with no stage above `most` one with the fewest inside of a block, then the most even one.
  std::vector<Index> cut(std::int64_t most) const {
    struct Score {
      int inside = std::numeric_limits<int>::max();
      std::uint64_t squares = 0;  // of the stages' costs, scaled to fit
      auto operator<=>(Score const&) const = default;
    };
    int const shift = std::max(0, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(sums_.back()))) - 31);
    auto const n = layers_.size();
    std::vector<std::vector<Index>> start(stages_ + 1, std::vector<Index>(n + 1, n));
    std::vector<Score> before(n + 1), now;
    before[0] = {0, 0};
    for (Index s = 1; s <= stages_; ++s) {
      now.assign(n + 1, {});
      for (Index to = s; to <= n; ++to) {
        for (Index from = to; from-- > 0 && cost(from, to) <= most;) {
          auto score = before[from];
          if (score.inside == Score{}.inside) continue;
          score.inside += from > 0 && is_inside_a_block(from) ? 1 : 0;
          auto const scaled = static_cast<std::uint64_t>(cost(from, to)) >> shift;
          score.squares += scaled * scaled;
          if (score <= now[to]) now[to] = score, start[s][to] = from;
        }
      }
      before = now;
    }
    std::vector<Index> first(stages_);
    for (Index s = stages_, to = n; s > 0; --s) first[s - 1] = to = start[s][to];
    return first;
  }

  std::vector<LayerCost> const& layers_;
  Index stages_;
  std::vector<std::int64_t> sums_;
};

class Assignment {
 public:
  Assignment(std::vector<LayerCost> const& layers, config::Stages const& wanted, int coordinates, int chunks)
      : layers_(layers), wanted_(wanted), coordinates_(coordinates), chunks_(chunks) {
    map_.stage.assign(layers.size(), -1);
  }

  StageMap run() {
    if (!wanted_.lists.empty()) {
      by_lists();
    } else {
      map_.at = cyclic(coordinates_, chunks_);
      if (wanted_.blocks.empty()) {
        automatic();
      } else {
        by_counts();
      }
    }
    fail_if_any(problems_);
    map_.costs.assign(map_.at.size(), 0);
    for (Index i = 0; i < layers_.size(); ++i) map_.costs[Index(map_.stage[i])] += layers_[i].cost;
    return std::move(map_);
  }

 private:
  void problem(std::string_view rule, std::string subject, std::string found, std::string expected, std::string fix) {
    problems_.push_back({.code = text("plan.stages.", rule),
                         .subject = std::move(subject),
                         .found = std::move(found),
                         .expected = std::move(expected),
                         .fix = std::move(fix)});
  }

  void automatic() {
    if (layers_.size() < map_.at.size()) {
      return problem("few", "there are fewer layers than pipeline stages", text(layers_.size(), " layers"),
                     text("at least one for each of mesh.pp * pipeline.chunks = ", map_.at.size(), " stages"),
                     text("take mesh.pp * pipeline.chunks of at most ", layers_.size()));
    }
    auto const first = Partition(layers_, map_.at.size()).run();
    for (Index s = 0; s < first.size(); ++s) {
      for (Index i = first[s]; i < (s + 1 < first.size() ? first[s + 1] : layers_.size()); ++i) {
        map_.stage[i] = static_cast<int>(s);
      }
    }
  }

  void by_counts() {
    bool const has_blocks = std::any_of(layers_.begin(), layers_.end(), [](auto const& l) { return is_block(l.path); });
    std::vector<std::int64_t> unit;  // per layer; of those between or after the blocks the one before
    std::int64_t units = 0;
    std::string last;
    for (auto const& l : layers_) {
      auto const block = has_blocks ? block_of(l.path) : l.path;
      if ((!has_blocks ? !l.optional : is_block(l.path)) && block != last) ++units, last = block;
      unit.push_back(std::max<std::int64_t>(units - 1, 0));
    }
    auto const what = has_blocks ? "blocks" : "layers";
    auto const sum = std::accumulate(wanted_.blocks.begin(), wanted_.blocks.end(), std::int64_t{0});
    if (sum != units || wanted_.blocks.size() != map_.at.size()) {
      return problem("count", "pipeline.stages does not fit the model",
                     text('[', join(wanted_.blocks), "]: ", sum, ' ', what, " in ", wanted_.blocks.size(), " stages"),
                     text(units, ' ', what, " in mesh.pp * pipeline.chunks = ", map_.at.size(), " stages"),
                     text("correct the counts, such as [", join(even(units)), "], or take \"auto\""));
    }
    std::vector<std::int64_t> end(wanted_.blocks.size());
    std::partial_sum(wanted_.blocks.begin(), wanted_.blocks.end(), end.begin());
    for (Index i = 0; i < layers_.size(); ++i) {
      map_.stage[i] = static_cast<int>(std::upper_bound(end.begin(), end.end(), unit[i]) - end.begin());
      // The ends of the network belong to the first and the last stage, also when these have no block.
      bool const plain = has_blocks && !is_block(layers_[i].path);
      if (plain && unit[i] == 0 && is_before_blocks(i)) map_.stage[i] = 0;
      if (plain && unit[i] == units - 1 && !is_before_blocks(i)) map_.stage[i] = static_cast<int>(end.size()) - 1;
    }
    for (int s = 0; s < static_cast<int>(end.size()); ++s) {
      if (std::find(map_.stage.begin(), map_.stage.end(), s) != map_.stage.end()) continue;
      problem("count", text("stage ", s, " of pipeline.stages has no layer"), text('[', join(wanted_.blocks), ']'),
              text("at least one of the ", what, " for every stage but the first and the last"), "correct the counts");
    }
  }

  /// Layer i stands before the first block.
  bool is_before_blocks(Index i) const {
    return std::none_of(layers_.begin(), layers_.begin() + static_cast<std::ptrdiff_t>(i),
                        [](auto const& l) { return is_block(l.path); });
  }

  std::vector<std::int64_t> even(std::int64_t units) const {
    auto const n = static_cast<std::int64_t>(map_.at.size());
    std::vector<std::int64_t> counts;
    for (std::int64_t s = 0; s < n; ++s) counts.push_back(units / n + (s < units % n ? 1 : 0));
    return counts;
  }

  void by_lists() {
    std::vector<std::string> paths;
    for (auto const& l : layers_) paths.push_back(l.path);
    std::vector<int> list(layers_.size(), -1);
    for (Index k = 0; k < wanted_.lists.size(); ++k) {
      auto const& wanted = wanted_.lists[k];
      if (wanted.at < 0 || wanted.at >= coordinates_) {
        problem("at", text("pipeline.stages[", k, "].at"), text(wanted.at),
                text("a pp coordinate, 0 to ", coordinates_ - 1), text("correct it, or set mesh.pp = ", wanted.at + 1));
      }
      for (int const i : select(wanted.layers, paths, text("pipeline.stages[", k, "].layers"), problems_)) {
        auto& mine = list[Index(i)];
        if (mine >= 0) {
          problem("twice", text("pipeline.stages: layer ", paths[Index(i)]), text("in list ", mine, " and in list ", k),
                  "every layer in one list", "remove it from one of the two");
        }
        mine = static_cast<int>(k);
      }
    }
    for (Index i = list.size(); i-- > 0;) {  // with the layer behind it, the last with the one before
      if (list[i] < 0 && layers_[i].optional) list[i] = i + 1 < list.size() ? list[i + 1] : i > 0 ? list[i - 1] : -1;
    }
    std::vector<std::string> missing;
    for (Index i = 0; i < list.size(); ++i) {
      if (list[i] < 0) missing.push_back(paths[i]);
    }
    if (!missing.empty()) {
      auto const count = missing.size();
      if (count > 8) missing.resize(8), missing.emplace_back("...");
      problem("missing", text("pipeline.stages leaves out ", count, count == 1 ? " layer" : " layers"), join(missing),
              "every layer in one list", "add them to the list of the stage that shall have them");
    }
    if (!problems_.empty()) return;
    for (Index i = 0; i < list.size(); ++i) {
      if (i == 0 || list[i] != list[i - 1]) map_.at.push_back(static_cast<int>(wanted_.lists[Index(list[i])].at));
      map_.stage[i] = static_cast<int>(map_.at.size()) - 1;
    }
    for (int c = 0; c < coordinates_; ++c) {
      if (std::find(map_.at.begin(), map_.at.end(), c) != map_.at.end()) continue;
      problem("at", text("pipeline.stages has no layers for pp coordinate ", c), text("lists at ", join(map_.at)),
              text("layers for each of the ", coordinates_, " coordinates"), "add a list, or lower mesh.pp");
    }
  }

  std::vector<LayerCost> const& layers_;
  config::Stages const& wanted_;
  int coordinates_, chunks_;
  StageMap map_;
  std::vector<ErrorInfo> problems_;
};

}  // namespace

StageMap assign_stages(std::vector<LayerCost> const& layers, config::Stages const& wanted, int coordinates,
                       int chunks) {
  return Assignment(layers, wanted, coordinates, chunks).run();
}

}  // namespace lamina::plan
