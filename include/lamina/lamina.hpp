#pragma once

#include <vector>

#include "lamina/models/models.hpp"

namespace lamina {

/// The whole command line program with models of one's own: every subcommand plans, trains, resumes, evaluates and
/// exports `model.kind = "<registered kind>"` like the built-in ones.
///
///   int main(int c, char** v) { return lamina::run(c, v, {{"my_model", build_my_model, my_keys}}); }
///
/// @return the exit code (see README "Exit codes").
int run(int argument_count, char** arguments, std::vector<models::Registration> const& registered = {});

}  // namespace lamina
