#pragma once

#include <bit>
#include <cstdint>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "lamina/comm/communicator.hpp"

namespace lamina::test {

/// The communicators that one conformance suite runs over.
enum class Kind { world, reversed, half, self };

inline std::ostream& operator<<(std::ostream& out, Kind k) {
  return out << (k == Kind::world ? "world" : k == Kind::reversed ? "reversed" : k == Kind::half ? "half" : "self");
}

/// Collective over the world. `half`: even ranks and odd ranks apart.
inline comm::Communicator make(Kind kind) {
  auto const world = comm::Communicator::world();
  std::vector<int> members;
  switch (kind) {
    case Kind::world:
      return world;
    case Kind::self:
      return comm::Communicator::self();
    case Kind::reversed:
      for (int r = world.size() - 1; r >= 0; --r) members.push_back(r);
      break;
    case Kind::half:
      for (int r = world.rank() % 2; r < world.size(); r += 2) members.push_back(r);
      break;
  }
  return world.subgroup(members, kind == Kind::half ? "half" : "reversed", 7);
}

inline std::uint16_t bf16(float x) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16); }

template <class T>
TensorRef ref(std::vector<T>& v, DType dtype) {
  return {v.data(), {dtype, {static_cast<std::int64_t>(v.size())}}};
}

/// A value in [-1, 1) that has no short binary form, a function of (i, rank).
inline float odd_value(std::int64_t i, int rank) {
  auto const mixed =
      (static_cast<std::uint64_t>(i) * 2654435761u + static_cast<std::uint64_t>(rank) * 40503u) % 1000003u;
  return static_cast<float>(mixed) / 500001.5f - 1;
}

}  // namespace lamina::test
