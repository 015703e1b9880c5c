#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/io/layout.hpp"

namespace lamina::test {

/// These tests sync many small files: in memory they take milliseconds instead of seconds. TMPDIR overrides.
inline bool const in_memory = ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", 0) == 0;

/// One global tensor of a test model.
struct GlobalTensor {
  std::string name;
  Role role;
  Shape shape;
};

/// Small, but with every odd case: cells cut short, one element, no element, no dim, three roles.
inline std::vector<GlobalTensor> model_tensors() {
  std::vector<GlobalTensor> all;
  for (auto const role : {Role::parameter, Role::moment1, Role::moment2}) {
    all.push_back({"embed.tokens.weight", role, {37, 70}});
    all.push_back({"blocks.0.attn.qkv.weight", role, {3, 4, 5, 70}});
    all.push_back({"blocks.0.attn.out.weight", role, {70, 4, 65}});
    all.push_back({"blocks.0.attn.norm.bias", role, {130}});
    all.push_back({"final.norm.weight", role, {1}});
  }
  all.push_back({"temperature", Role::parameter, {}});
  all.push_back({"nothing", Role::parameter, {0, 4}});
  return all;
}

/// The value of an element: depends on tensor, role, step and index only.
inline float value_at(GlobalTensor const& t, std::int64_t step, std::int64_t index) {
  auto const base =
      static_cast<double>(t.name.size()) + 100.0 * static_cast<double>(t.role) + 0.25 * static_cast<double>(step);
  return static_cast<float>(base + 0.001 * static_cast<double>(index % 9973));
}

/// One rank's pieces with their memory.
class Shard {
 public:
  /// Adds one box of a tensor (or all of it), filled with the values of `step`, or with -1 when step < 0.
  void add(GlobalTensor const& t, std::vector<program::Hyperslab> slabs, std::int64_t step, bool owner = true) {
    std::int64_t count = slabs.empty() ? t.shape.count() : 0;
    for (auto const& s : slabs) count += s.extent.count();
    auto& memory = memory_.emplace_back(static_cast<std::size_t>(count), -1.0f);
    tensors_.push_back(t);
    pieces_.push_back({.name = t.name,
                       .role = t.role,
                       .global_shape = t.shape,
                       .slabs = std::move(slabs),
                       .memory = {memory.data(), {DType::f32, {count}}},
                       .owner = owner});
    if (step >= 0) for_each(pieces_.size() - 1, [&](float& x, std::int64_t index) { x = value_at(t, step, index); });
  }

  /// Number of elements that differ from the values of `step`.
  std::int64_t wrong(std::int64_t step) {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < pieces_.size(); ++i)
      for_each(i, [&](float& x, std::int64_t index) { n += x != value_at(tensors_[i], step, index); });
    return n;
  }

  std::vector<checkpoint::Piece> const& pieces() const { return pieces_; }

 private:
  template <class Work>
  void for_each(std::size_t i, Work const& work) {
    auto const& p = pieces_[i];
    auto slabs = p.slabs;
    if (slabs.empty()) {
      Shape origin = p.global_shape;
      for (int d = 0; d < origin.ndim(); ++d) origin[d] = 0;
      slabs = {{.offset = origin, .extent = p.global_shape}};
    }
    auto* at = memory_[i].data();
    for (auto const& s : slabs) {
      for (std::int64_t n = 0; n < s.extent.count(); ++n) {  // plain, element by element: the oracle
        std::int64_t rest = n, index = 0, stride = 1;
        for (int d = s.extent.ndim() - 1; d >= 0; --d) {
          index += (s.offset[d] + rest % s.extent[d]) * stride;
          rest /= s.extent[d];
          stride *= p.global_shape[d];
        }
        work(*at++, index);
      }
    }
  }

  std::deque<std::vector<float>> memory_;  // stays where it is
  std::vector<GlobalTensor> tensors_;
  std::vector<checkpoint::Piece> pieces_;
};

/// Part `index` of `parts` of a dim; the first parts are larger when it does not divide.
inline program::Hyperslab part_of(Shape const& shape, int dim, int index, int parts) {
  Shape origin = shape, extent = shape;
  for (int d = 0; d < shape.ndim(); ++d) origin[d] = 0;
  auto const n = shape[dim], size = n / parts, more = n % parts;
  origin[dim] = index * size + std::min<std::int64_t>(index, more);
  extent[dim] = size + (index < more ? 1 : 0);
  return {.offset = origin, .extent = extent};
}

enum class Split { replicated, first_dim, last_dim, two_slabs };

/// What rank `index` of `parts` holds under a split. Replicated: the first rank owns.
inline Shard make_shard(Split split, int index, int parts, std::int64_t step) {
  Shard shard;
  for (auto const& t : model_tensors()) {
    int const ndim = t.shape.ndim();
    if (split == Split::replicated || ndim == 0) {
      shard.add(t, {}, step, index == 0);
    } else if (split == Split::two_slabs) {  // parts i and 2n-1-i of 2n
      shard.add(t, {part_of(t.shape, 0, index, 2 * parts), part_of(t.shape, 0, 2 * parts - 1 - index, 2 * parts)},
                step);
    } else {
      shard.add(t, {part_of(t.shape, split == Split::first_dim ? 0 : ndim - 1, index, parts)}, step);
    }
  }
  return shard;
}

inline checkpoint::State make_state(std::int64_t step) {
  return {.step = step,
          .tokens = 1000 * step,
          .seed = 7,
          .data_position = 8 * step,
          .config = "[run]\ndir = \"runs/\u00e9\"\n",
          .layout = "dp = 1"};
}

/// Changes one byte of a file.
inline void flip_bit(std::string const& path, std::int64_t byte) {
  std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
  f.seekg(byte);
  auto const c = static_cast<char>(f.get() ^ 0x04);
  f.seekp(byte);
  f.put(c);
}

}  // namespace lamina::test
