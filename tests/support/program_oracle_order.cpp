#include "support/program_oracle_order.hpp"

#include <algorithm>
#include <cstdint>

namespace lamina::test {

using namespace program;

namespace {

/// A set of steps as bits.
using Steps = std::vector<std::uint64_t>;
bool has(Steps const& s, std::size_t i) { return (s[i / 64] >> i % 64 & 1) != 0; }
void add(Steps& s, std::size_t i) { s[i / 64] |= std::uint64_t{1} << i % 64; }

/// after[a] has b: a has finished before b starts. Warshall's closure of stream order and `after`.
std::vector<Steps> happens_before(Program const& p) {
  auto const n = p.steps.size();
  std::vector<Steps> later(n, Steps(n / 64 + 1, 0));
  for (std::size_t b = 0; b < n; ++b) {
    for (int const a : p.steps[b].after) add(later[static_cast<std::size_t>(a)], b);
    for (std::size_t a = 0; a < b; ++a) {
      if (p.steps[a].stream == p.steps[b].stream) add(later[a], b);
    }
  }
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t a = 0; a < n; ++a) {
      if (!has(later[a], k)) continue;
      for (std::size_t word = 0; word < later[a].size(); ++word) later[a][word] |= later[k][word];
    }
  }
  return later;
}

std::set<int> reads_of(Step const& s) {
  std::set<int> out(s.in.begin(), s.in.end());
  if (s.kind == StepKind::kernel && s.attributes.has("accumulate")) {
    auto bits = s.attributes.integer("accumulate");
    for (int const b : s.out) {
      if (bits % 2 == 1) out.insert(b);
      bits /= 2;
    }
  }
  return out;
}

std::set<int> writes_of(Step const& s) { return {s.out.begin(), s.out.end()}; }

/// Pairs of buffers that have a byte in common.
std::vector<std::pair<int, int>> sharing_pairs(Template const& t) {
  std::vector<std::pair<int, int>> pairs;
  for (int b = 0; b < static_cast<int>(t.buffers.size()); ++b) {
    for (int a = 0; a < b; ++a) {
      auto const &x = t.buffers[static_cast<std::size_t>(a)], &y = t.buffers[static_cast<std::size_t>(b)];
      bool const meet = x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes;
      if (x.space == y.space && x.bytes > 0 && y.bytes > 0 && meet) pairs.emplace_back(a, b);
    }
  }
  return pairs;
}

}  // namespace

void judge_persistent_bytes(Template const& t, int rank, Verdict& verdict) {
  for (auto const& [a, b] : sharing_pairs(t)) {
    bool const lasts =
        t.buffers[static_cast<std::size_t>(a)].program == -1 || t.buffers[static_cast<std::size_t>(b)].program == -1;
    if (lasts) verdict.findings.insert({"overlap", rank, "", -1});
  }
}

void judge_order(Template const& t, int program, int rank, Verdict& verdict) {
  auto const& p = t.programs[static_cast<std::size_t>(program)];
  auto const n = p.steps.size();
  auto const later = happens_before(p);
  auto const before = [&](std::size_t a, std::size_t b) { return has(later[a], b); };
  std::vector<std::set<int>> reads, writes;
  std::vector<std::vector<std::size_t>> users(t.buffers.size()), writers(t.buffers.size());
  for (std::size_t i = 0; i < n; ++i) {
    reads.push_back(reads_of(p.steps[i])), writes.push_back(writes_of(p.steps[i]));
    auto used = reads[i];
    used.insert(writes[i].begin(), writes[i].end());
    for (int const b : used) users[static_cast<std::size_t>(b)].push_back(i);
    for (int const b : writes[i]) writers[static_cast<std::size_t>(b)].push_back(i);
  }
  auto const flag = [&](char const* rule, std::size_t step) {
    verdict.findings.insert({rule, rank, p.name, static_cast<int>(step)});
  };

  for (std::size_t r = 0; r < n; ++r) {
    for (int const b : reads[r]) {
      if (t.buffers[static_cast<std::size_t>(b)].program == -1) continue;
      bool written = false;
      for (auto const w : writers[static_cast<std::size_t>(b)]) written = written || before(w, r) || w < r;
      if (!written) flag("read_before_write", r);
    }
  }
  for (std::size_t first = 0; first < n; ++first) {
    for (std::size_t second = first + 1; second < n; ++second) {
      if (before(first, second)) continue;
      for (int const b : writes[first]) {
        if (reads[second].contains(b)) flag("unordered_read", second);
        if (writes[second].contains(b)) flag("unordered_write", second);
      }
      for (int const b : reads[first]) {
        if (writes[second].contains(b)) flag("unordered_write", second);
      }
    }
  }
  for (auto const& [a, b] : sharing_pairs(t)) {
    if (t.buffers[static_cast<std::size_t>(a)].program != program ||
        t.buffers[static_cast<std::size_t>(b)].program != program)
      continue;
    bool a_first = true, b_first = true;
    for (auto const i : users[static_cast<std::size_t>(a)]) {
      for (auto const j : users[static_cast<std::size_t>(b)]) {
        a_first = a_first && before(i, j);
        b_first = b_first && before(j, i);
      }
    }
    if (a_first || b_first) continue;
    for (auto const i : users[static_cast<std::size_t>(a)]) flag("overlap", i);
    for (auto const i : users[static_cast<std::size_t>(b)]) flag("overlap", i);
  }
}

}  // namespace lamina::test
