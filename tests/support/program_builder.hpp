#pragma once

#include <bitset>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lamina/program/program.hpp"
#include "support/random.hpp"

namespace lamina::test {

/// Writes the programs of one rank so that every rule holds: it finds places for buffers and adds the `after` that
/// reads, writes and shared bytes need, plus some that are not needed.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(Random& random) : random_(random) { t_.arena_bytes.assign(4, 0); }

  int add_group(program::Group group, std::vector<int> members);
  /// Without a name it gets one of its own.
  int add_persistent(Role role, TensorSpec spec, Shape global = {}, std::vector<program::Hyperslab> slabs = {},
                     std::string name = "");
  void begin_program(std::string name);
  int add_transient(Role role, TensorSpec const& spec, std::string name = "");
  /// Puts a step on its stream; `s.stream` is chosen here except for copies.
  int add(program::Step s);
  int kernel(std::vector<int> in, std::vector<int> out, program::Step extra = {});
  /// No step uses the transient buffer from now on: its bytes are free.
  void retire(int buffer) { live_.erase(buffer); }

  /// A buffer of this spec (and name) that may be read now: an old one, or a new one that a kernel writes first.
  int readable(TensorSpec const& spec, std::string const& name = "");
  /// Buffers that may be read now: persistent ones and transient ones that were written.
  std::vector<int> readables() const;
  program::Buffer const& buffer(int id) const { return t_.buffers[static_cast<std::size_t>(id)]; }
  std::vector<int> live() const { return {live_.begin(), live_.end()}; }
  int group_count() const { return static_cast<int>(t_.groups.size()); }

  std::shared_ptr<program::Template const> finish();
  std::vector<std::vector<int>> const& members() const { return members_; }
  std::vector<std::vector<program::Hyperslab>> const& slabs() const { return slabs_; }

 private:
  static constexpr std::size_t max_steps = 512;
  struct Use {
    int first = -1, last = -1, last_write = -1;
  };
  program::Program& program() { return t_.programs.back(); }
  int stream_of(program::Step const& s);
  std::int64_t find_place(program::Space space, std::int64_t bytes);
  void wait_for(program::Step& s, std::bitset<max_steps>& known, int stream, int earlier);

  Random& random_;
  program::Template t_;
  std::vector<std::vector<int>> members_;
  std::vector<std::vector<program::Hyperslab>> slabs_;
  std::set<int> live_, written_;                // transient buffers of the program being written
  std::map<int, std::map<int, Use>> uses_;      // by buffer and stream
  std::vector<std::bitset<max_steps>> before_;  // per step: what happens before it
  std::map<int, int> last_of_stream_;
  std::int64_t persistent_end_[4] = {};
};

}  // namespace lamina::test
