#include <algorithm>
#include <limits>

#include "plan/detail/memory.hpp"

namespace lamina::plan {
namespace {

/// For each step of another stream: the last compute step that happens before it and the first that happens after it.
struct Window {
  std::int64_t before = -1, after = 0;
};

/// Positions on the compute stream, and windows of the other steps. `after` and stream order both point backwards in
/// the list, so one pass each way is enough.
std::vector<Window> windows(program::Program const& p, std::vector<std::int64_t> const& compute_index) {
  std::int64_t end = 0;  // behind all compute steps
  for (auto const index : compute_index) end = std::max(end, index + 1);
  std::vector<Window> w(p.steps.size(), {.before = -1, .after = end});
  auto const is_compute = [&](std::size_t s) { return p.steps[s].stream == 0; };
  std::vector<std::int64_t> seen(p.streams.size(), -1);  // last compute step known to be over, per stream
  for (std::size_t s = 0; s < p.steps.size(); ++s) {
    auto const stream = static_cast<std::size_t>(p.steps[s].stream);
    auto before = is_compute(s) ? compute_index[s] : seen[stream];
    for (int const a : p.steps[s].after) before = std::max(before, w[static_cast<std::size_t>(a)].before);
    w[s].before = seen[stream] = std::max(before, seen[stream]);
  }
  std::vector<std::int64_t> next(p.streams.size(), end);
  for (std::size_t s = p.steps.size(); s-- > 0;) {
    auto const stream = static_cast<std::size_t>(p.steps[s].stream);
    if (is_compute(s)) w[s].after = compute_index[s];
    w[s].after = next[stream] = std::min(w[s].after, next[stream]);
    for (int const a : p.steps[s].after) {
      auto& theirs = w[static_cast<std::size_t>(a)].after;
      theirs = std::min(theirs, w[s].after);
    }
  }
  return w;
}

std::vector<std::int64_t> compute_positions(program::Program const& p) {
  std::vector<std::int64_t> index(p.steps.size(), -1);
  std::int64_t n = 0;
  for (std::size_t s = 0; s < p.steps.size(); ++s) {
    if (p.steps[s].stream == 0) index[s] = n++;
  }
  return index;
}

struct Span {
  std::int64_t first = std::numeric_limits<std::int32_t>::max(), last = -1;
};

/// Per buffer: from the first position on the compute stream by which it has surely been used to the last at which a
/// use surely lies ahead. Steps of other streams count by what `after` and stream order say about them, no more.
std::vector<Span> surely_held(program::Program const& p, std::size_t buffers) {
  auto const position = compute_positions(p);
  auto const window = windows(p, position);
  std::vector<Span> held(buffers);
  for (std::size_t s = 0; s < p.steps.size(); ++s) {
    bool const compute = p.steps[s].stream == 0;
    for (auto const* list : {&p.steps[s].in, &p.steps[s].out}) {
      for (int const b : *list) {
        auto& h = held[static_cast<std::size_t>(b)];
        h.first = std::min(h.first, compute ? position[s] : window[s].after);
        h.last = std::max(h.last, compute ? position[s] : window[s].before);
      }
    }
  }
  return held;
}

}  // namespace

std::vector<Lifetime> lifetimes(program::Template const& shape, int program) {
  auto const& p = shape.programs[static_cast<std::size_t>(program)];
  auto const position = compute_positions(p);
  auto const window = windows(p, position);
  std::vector<Lifetime> result(shape.buffers.size());
  for (std::size_t s = 0; s < p.steps.size(); ++s) {
    bool const compute = p.steps[s].stream == 0;
    auto const first = compute ? 2 * position[s] : 2 * window[s].before + 1;
    auto const last = compute ? 2 * position[s] : 2 * window[s].after - 1;
    for (auto const* list : {&p.steps[s].in, &p.steps[s].out}) {
      for (int const b : *list) {
        auto const& buffer = shape.buffers[static_cast<std::size_t>(b)];
        if (buffer.program != program) continue;
        auto& t = result[static_cast<std::size_t>(b)];
        if (t.bytes == 0) t = {buffer.bytes, first, last};
        t.first = std::min(t.first, first), t.last = std::max(t.last, last);
      }
    }
  }
  return result;
}

std::int64_t Bound::peak() const {
  return persistent + (transient.empty() ? 0 : *std::max_element(transient.begin(), transient.end()));
}

Bound liveness_bound(program::Template const& shape, program::Space space) {
  Bound bound;
  for (auto const& b : shape.buffers) {
    if (b.program < 0 && b.space == space) bound.persistent += b.spec.bytes();
  }
  for (std::size_t p = 0; p < shape.programs.size(); ++p) {
    auto const held = surely_held(shape.programs[p], shape.buffers.size());
    auto const& steps = shape.programs[p].steps;
    std::vector<int> compute;  // step of each position
    for (std::size_t s = 0; s < steps.size(); ++s) {
      if (steps[s].stream == 0) compute.push_back(static_cast<int>(s));
    }
    auto const counts = [&](std::size_t i) {
      auto const& b = shape.buffers[i];
      return b.program == static_cast<int>(p) && b.space == space && held[i].first <= held[i].last;
    };
    std::vector<std::int64_t> change(compute.size() + 1, 0);
    for (std::size_t i = 0; i < shape.buffers.size(); ++i) {
      if (!counts(i)) continue;
      change[static_cast<std::size_t>(held[i].first)] += shape.buffers[i].spec.bytes();
      change[static_cast<std::size_t>(held[i].last) + 1] -= shape.buffers[i].spec.bytes();
    }
    std::int64_t now = 0, most = 0, where = -1;
    for (std::size_t at = 0; at < compute.size(); ++at) {
      now += change[at];
      if (now > most) most = now, where = static_cast<std::int64_t>(at);
    }
    auto& roles = bound.roles.emplace_back();
    for (std::size_t i = 0; i < shape.buffers.size() && where >= 0; ++i) {
      bool const here = counts(i) && held[i].first <= where && where <= held[i].last;
      if (here) roles[static_cast<std::size_t>(shape.buffers[i].role)] += shape.buffers[i].spec.bytes();
    }
    bound.transient.push_back(most);
    bound.step.push_back(where < 0 ? -1 : compute[static_cast<std::size_t>(where)]);
  }
  return bound;
}

}  // namespace lamina::plan
