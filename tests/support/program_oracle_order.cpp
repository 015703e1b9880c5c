#include "support/program_oracle_order.hpp"

#include <algorithm>
#include <map>

namespace lamina::test {

using namespace program;

namespace {

using Matrix = std::vector<std::vector<char>>;

/// before[a][b]: a has finished before b starts. Warshall's closure of stream order and `after`.
Matrix happens_before(Program const& p) {
  auto const n = p.steps.size();
  Matrix before(n, std::vector<char>(n, 0));
  for (std::size_t b = 0; b < n; ++b) {
    for (int const a : p.steps[b].after) before[static_cast<std::size_t>(a)][b] = 1;
    for (std::size_t a = 0; a < b; ++a) {
      if (p.steps[a].stream == p.steps[b].stream) before[a][b] = 1;
    }
  }
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t b = 0; before[a][k] && b < n; ++b) {
        if (before[k][b]) before[a][b] = 1;
      }
    }
  }
  return before;
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

/// Pairs of buffers that have a byte in common, found by writing down who owns each byte.
std::set<std::pair<int, int>> sharing_pairs(Template const& t) {
  std::map<std::pair<Space, std::int64_t>, std::vector<int>> owners;
  for (int id = 0; id < static_cast<int>(t.buffers.size()); ++id) {
    auto const& b = t.buffers[static_cast<std::size_t>(id)];
    // Offsets are multiples of 64, so two ranges that meet have the first byte of one of them in common, and that is
    // the first of a block of 64.
    for (auto at = b.offset; at < b.offset + b.bytes; at += 64) owners[{b.space, at}].push_back(id);
  }
  std::set<std::pair<int, int>> pairs;
  for (auto const& [byte, list] : owners) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) pairs.insert({list[j], list[i]});
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
  auto const before = happens_before(p);
  std::vector<std::set<int>> reads, writes;
  for (auto const& s : p.steps) reads.push_back(reads_of(s)), writes.push_back(writes_of(s));
  auto const flag = [&](char const* rule, std::size_t step) {
    verdict.findings.insert({rule, rank, p.name, static_cast<int>(step)});
  };

  for (std::size_t r = 0; r < n; ++r) {
    for (int const b : reads[r]) {
      if (t.buffers[static_cast<std::size_t>(b)].program == -1) continue;
      bool written = false, listed = false;
      for (std::size_t w = 0; w < n; ++w) {
        written = written || (before[w][r] && writes[w].contains(b));
        listed = listed || (w < r && writes[w].contains(b));
      }
      if (!written && !listed) flag("read_before_write", r);
    }
  }
  for (std::size_t first = 0; first < n; ++first) {
    for (std::size_t second = first + 1; second < n; ++second) {
      if (before[first][second]) continue;
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
    std::set<std::size_t> uses;
    for (std::size_t i = 0; i < n; ++i) {
      bool const i_uses_a = reads[i].contains(a) || writes[i].contains(a);
      if (i_uses_a || reads[i].contains(b) || writes[i].contains(b)) uses.insert(i);
      for (std::size_t j = 0; i_uses_a && j < n; ++j) {
        if (!reads[j].contains(b) && !writes[j].contains(b)) continue;
        a_first = a_first && before[i][j];
        b_first = b_first && before[j][i];
      }
    }
    if (a_first || b_first) continue;
    for (auto const step : uses) flag("overlap", step);
  }
}

}  // namespace lamina::test
