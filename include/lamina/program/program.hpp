#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/tensor/attributes.hpp"
#include "lamina/tensor/role.hpp"
#include "lamina/tensor/tensor.hpp"

/// The contract between planning and execution. Plain data; the text form is the same thing for eyes and diffs.
namespace lamina::program {

enum class Space : std::uint8_t { host, shared, pinned, device };
enum class Transport : std::uint8_t { mpi, shm, nccl };

/// A communicator. Members are in the binding, because they differ between ranks that share a template.
struct Group {
  std::string name;  ///< "dp", "control", "pp.0>1" (one per ordered pair of neighbours)
  std::string axis;  ///< mesh axis, "" for the control group
  Transport transport = Transport::mpi;
  friend bool operator==(Group const&, Group const&) = default;
};

/// Memory of one rank. `shape` is local; what part of the global tensor it holds is in the binding (`slabs`).
struct Buffer {
  std::string name = {};  ///< global tensor name, or a unique name inside the set
  Role role = Role::activation;
  TensorSpec spec = {};
  Shape global_shape = {};  ///< of the global tensor; equals spec.shape when nothing is split
  Space space = Space::host;
  std::int64_t offset = 0;  ///< in the space's arena, bytes; a multiple of 64
  std::int64_t bytes = 0;   ///< >= spec.bytes()
  int program = -1;         ///< program it belongs to; -1: persistent, shared by all programs
  friend bool operator==(Buffer const&, Buffer const&) = default;
};

/// A box of a global tensor.
struct Hyperslab {
  Shape offset, extent;
  friend bool operator==(Hyperslab const&, Hyperslab const&) = default;
};

enum class StepKind : std::uint8_t {
  kernel,
  copy,
  send,
  recv,
  all_reduce,
  reduce_scatter,
  all_gather,
  all_to_all,
  broadcast,
  barrier
};

struct Stream {
  std::string name;  ///< "compute", "comm.<group>", "copy"
  int group = -1;    ///< group of a comm stream
  friend bool operator==(Stream const&, Stream const&) = default;
};

/// One thing a stream does. Its id is its index in `Program::steps`.
struct Step {
  int stream = 0;
  StepKind kind = StepKind::kernel;
  std::string op = {};                 ///< kernel: the op's kind; otherwise ""
  Attributes attributes = {};          ///< kernel attributes; "reduce" = "sum" | "max"; "rows", "dim", "flat": README
  std::vector<int> in = {}, out = {};  ///< buffer ids; a buffer in both is updated in place. Reductions: in == out
  int group = -1;                      ///< communication: index into Template::groups
  int peer = -1;                       ///< send, recv, broadcast (root): index *into the group's members*
  int micro_batch = -1;
  int stage = 0;
  std::string layer = {};  ///< for people: traces, errors
  std::int64_t bytes = 0, flops = 0;
  std::vector<int> after = {};  ///< steps of other streams that must have finished before this one starts
  friend bool operator==(Step const&, Step const&) = default;
};

/// Steps in issue order. Order means nothing between streams: only stream order and `after` do.
struct Program {
  std::string name;             ///< forward_backward, control, update, refresh, eval, prefill, decode
  std::vector<Stream> streams;  ///< stream 0 is "compute"
  std::vector<Step> steps;
  friend bool operator==(Program const&, Program const&) = default;
};

/// Everything that ranks of one kind share.
struct Template {
  std::vector<Group> groups;
  std::vector<Buffer> buffers;
  std::vector<Program> programs;
  std::vector<std::int64_t> arena_bytes = std::vector<std::int64_t>(4, 0);  ///< per Space
  friend bool operator==(Template const&, Template const&) = default;

  Program const* find_program(std::string_view name) const;
  int find_buffer(std::string_view name, Role role) const;  ///< id or -1
};

/// What one rank has of its own.
struct Binding {
  int rank = 0, world = 1;
  std::vector<std::string> axes = {};          ///< mesh axes, outermost first
  std::vector<int> coordinates = {};           ///< per axis
  std::vector<std::vector<int>> members = {};  ///< per group: world ranks in order; this rank is among them
  /// Per buffer with role parameter, gradient, moment1, moment2: the boxes it holds, one after the other in memory,
  /// each row-major; elements beyond them are padding. Empty for "all of it".
  std::vector<std::vector<Hyperslab>> slabs = {};
  friend bool operator==(Binding const&, Binding const&) = default;
};

/// One rank's programs.
struct ProgramSet {
  std::shared_ptr<Template const> shape;
  Binding binding;
};

bool operator==(ProgramSet const& a, ProgramSet const& b);

/// Stable text, one line per item; `parse(print(p)) == p`. Grammar: src/program/README.md.
std::string print(ProgramSet const& set);
std::string print(Template const& shape);   ///< the part that ranks of one kind share
std::string print(Binding const& binding);  ///< the part of one rank
/// Checks the form only (ids may point anywhere): `verify` judges the meaning.
/// @throws Error "program.parse.<rule>" with the line number.
ProgramSet parse(std::string_view text);

/// What the verifier found wrong, in words that name steps, streams, buffers and ranks.
struct Problem {
  std::string rule;  ///< "read_before_write", "overlap", "deadlock", ...: see src/program/README.md
  int rank = -1;
  std::string program;
  int step = -1;
  std::string message;
};

/// One rank: every read happens after its write; write-after-read and write-after-write are ordered; live buffers do
/// not share bytes; operands exist, fit and are of the right kind. Returns all problems.
std::vector<Problem> verify(ProgramSet const& set);
/// All ranks: each distinct template once as above, then group tables, matching of collectives and messages, and
/// progress of the whole set under rendezvous rules. Worlds up to 4,096 ranks.
std::vector<Problem> verify(std::span<ProgramSet const> ranks);

/// 64-bit hash (XXH3) of the text form; equal on every machine. Of a set: of the binding's text followed by the hash
/// of the template, so that a template shared by many ranks is printed once.
std::uint64_t hash(ProgramSet const& set);
std::uint64_t hash(Template const& shape);
/// Of all ranks in order; each distinct template object is printed once.
std::uint64_t hash(std::span<ProgramSet const> ranks);

/// Bytes of the arena of a space.
std::int64_t peak_bytes(ProgramSet const& set, Space space);

std::string_view name_of(Space s);
std::string_view name_of(Transport t);
std::string_view name_of(StepKind k);
bool is_collective(StepKind k);     ///< all_reduce, reduce_scatter, all_gather, all_to_all, broadcast, barrier
bool is_communication(StepKind k);  ///< a collective, send or recv
/// Bytes that all ranks of a group send together for one step of communication; `bytes` as in Step. A reduction that
/// goes in one message from everyone to everyone sends more.
std::int64_t sent_bytes(StepKind k, std::int64_t bytes, int ranks);

}  // namespace lamina::program
