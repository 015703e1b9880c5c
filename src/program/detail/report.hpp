#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"

namespace lamina::program::detail {

/// "step 12 (layer_norm blocks.0.attn, stream compute, micro-batch 3)". The id may be out of range.
std::string describe_step(Program const& program, int step);
/// "%7 'blocks.0.attn.x'". The id may be out of range.
std::string describe_buffer(Template const& shape, int buffer);
/// "0, 1, 2 and 5 more"
std::string describe_ranks(std::vector<int> const& ranks);

/// Where the problems of one rank go, and how its messages begin.
class Reporter {
 public:
  /// @param subject what the messages are about: "rank 3", or "rank 3 (and 6 more ranks of its template)".
  Reporter(std::vector<Problem>& out, int rank, std::string subject)
      : out_(&out), rank_(rank), subject_(std::move(subject)) {}

  template <class... Ts>
  void add(std::string_view rule, Ts const&... message) {
    put(rule, "", -1, text(message...));
  }
  template <class... Ts>
  void add_step(std::string_view rule, Program const& p, int step, Ts const&... message) {
    put(rule, p.name, step, text("program '", p.name, "': ", describe_step(p, step), " ", message...));
  }
  template <class... Ts>
  void add_program(std::string_view rule, Program const& p, Ts const&... message) {
    put(rule, p.name, -1, text("program '", p.name, "': ", message...));
  }
  int rank() const { return rank_; }

 private:
  void put(std::string_view rule, std::string_view program, int step, std::string const& message) {
    out_->push_back({std::string(rule), rank_, std::string(program), step, text(subject_, ": ", message)});
  }

  std::vector<Problem>* out_;
  int rank_;
  std::string subject_;
};

}  // namespace lamina::program::detail
