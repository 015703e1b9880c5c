#include "program/detail/report.hpp"

#include <algorithm>

namespace lamina::program::detail {

std::string describe_step(Program const& program, int step) {
  if (step < 0 || static_cast<std::size_t>(step) >= program.steps.size()) return text("step ", step);
  auto const& s = program.steps[static_cast<std::size_t>(step)];
  auto const kernel = s.kind == StepKind::kernel && !s.op.empty();
  std::string out = text("step ", step, " (", kernel ? std::string_view(s.op) : name_of(s.kind));
  if (!s.layer.empty()) out += text(" ", s.layer);
  bool const known = s.stream >= 0 && static_cast<std::size_t>(s.stream) < program.streams.size();
  out += text(", stream ", known ? program.streams[static_cast<std::size_t>(s.stream)].name : text("#", s.stream));
  if (s.micro_batch >= 0) out += text(", micro-batch ", s.micro_batch);
  return out + ")";
}

std::string describe_buffer(Template const& shape, int buffer) {
  if (buffer < 0 || static_cast<std::size_t>(buffer) >= shape.buffers.size()) return text("%", buffer);
  return text("%", buffer, " '", shape.buffers[static_cast<std::size_t>(buffer)].name, "'");
}

std::string describe_ranks(std::vector<int> const& ranks) {
  constexpr std::size_t most = 8;
  std::vector<int> const first(ranks.begin(),
                               ranks.begin() + static_cast<std::ptrdiff_t>(std::min(most, ranks.size())));
  auto out = join(first);
  if (ranks.size() > most) out += text(" and ", ranks.size() - most, " more");
  return out;
}

}  // namespace lamina::program::detail
