#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/detail/document.hpp"
#include "lamina/config/run_config.hpp"

namespace lamina::config::detail {

/// "section.key" -> where the run file (or --set) gives it.
using Places = std::map<std::string, Place>;

/// What the values of several keys must be to each other, as far as it does not depend on the number of ranks.
/// Sets batch.global to 0 where batch.per_replica is given.
void check_rules(RunConfig& config, Places const& given, std::vector<Problem>& problems);

/// "1, 2, 3, 4, 6, 12": at most `most` divisors of n that are nearest to `wanted`, in rising order.
std::string divisors_near(std::int64_t n, std::int64_t wanted, std::size_t most = 10);

}  // namespace lamina::config::detail
