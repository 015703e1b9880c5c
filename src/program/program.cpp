#include "lamina/program/program.hpp"

#include <array>
#include <map>

#include "lamina/base/hash.hpp"
#include "lamina/base/text.hpp"
#include "lamina/tensor/reduction.hpp"

namespace lamina::program {
namespace {

constexpr std::array<std::string_view, 4> space_names{"host", "shared", "pinned", "device"};
constexpr std::array<std::string_view, 3> transport_names{"mpi", "shm", "nccl"};
constexpr std::array<std::string_view, 10> kind_names{"kernel",     "copy",           "send",       "recv",
                                                      "all_reduce", "reduce_scatter", "all_gather", "all_to_all",
                                                      "broadcast",  "barrier"};

std::uint64_t hash_parts(Binding const& binding, std::uint64_t shape) {
  return hash64(text(print(binding), "template ", shape, "\n"));
}

}  // namespace

std::string_view name_of(Space s) { return space_names[static_cast<std::size_t>(s)]; }
std::string_view name_of(Transport t) { return transport_names[static_cast<std::size_t>(t)]; }
std::string_view name_of(StepKind k) { return kind_names[static_cast<std::size_t>(k)]; }

bool is_collective(StepKind k) { return k >= StepKind::all_reduce; }
bool is_communication(StepKind k) { return k >= StepKind::send; }

std::int64_t sent_bytes(StepKind k, std::int64_t bytes, int ranks) {
  std::int64_t const others = ranks - 1;
  if (k == StepKind::send) return bytes;
  if (k == StepKind::recv) return 0;
  bool const twice = k == StepKind::all_reduce;
  if (twice && bytes <= direct_reduction_bytes(ranks)) return ranks * others * bytes;
  return (twice ? 2 : 1) * others * bytes;
}

Program const* Template::find_program(std::string_view name) const {
  for (auto const& p : programs) {
    if (p.name == name) return &p;
  }
  return nullptr;
}

int Template::find_buffer(std::string_view name, Role role) const {
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].role == role && buffers[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

bool operator==(ProgramSet const& a, ProgramSet const& b) {
  if (!(a.binding == b.binding)) return false;
  return a.shape == b.shape || (a.shape && b.shape && *a.shape == *b.shape);
}

std::uint64_t hash(Template const& shape) { return hash64(print(shape)); }

std::uint64_t hash(ProgramSet const& set) { return hash_parts(set.binding, hash(*set.shape)); }

std::uint64_t hash(std::span<ProgramSet const> ranks) {
  std::map<Template const*, std::uint64_t> known;
  std::string all;
  for (auto const& set : ranks) {
    auto const [at, is_new] = known.try_emplace(set.shape.get(), 0);
    if (is_new) at->second = hash(*set.shape);
    all += text(hash_parts(set.binding, at->second), "\n");
  }
  return hash64(all);
}

std::int64_t peak_bytes(ProgramSet const& set, Space space) {
  auto const i = static_cast<std::size_t>(space);
  return i < set.shape->arena_bytes.size() ? set.shape->arena_bytes[i] : 0;
}

}  // namespace lamina::program
