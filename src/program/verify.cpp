#include "program/detail/verify.hpp"

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"

namespace lamina::program {

std::vector<Problem> verify(ProgramSet const& set) {
  std::vector<Problem> problems;
  detail::Reporter report(problems, set.binding.rank, text("rank ", set.binding.rank));
  if (detail::check_template(*set.shape, report)) detail::BindingRules(*set.shape).check(set.binding, report);
  return problems;
}

}  // namespace lamina::program
