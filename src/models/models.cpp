#include "lamina/models/models.hpp"

#include <algorithm>
#include <map>

#include "lamina/base/error.hpp"
#include "lamina/base/math.hpp"
#include "lamina/base/text.hpp"

namespace lamina::models {
namespace {

BuildFunction find_builder(std::string const& kind, std::vector<Registration> const& registered) {
  if (kind == "gpt") return build_gpt;
  if (kind == "layers") return build_layers;
  std::vector<std::string> known{"gpt", "layers"};
  for (auto const& r : registered) {
    if (r.kind == kind) return r.build;
    known.push_back(r.kind);
  }
  auto const near = closest(kind, known);
  fail({.code = "models.kind.unknown",
        .subject = "[model] kind",
        .found = text('"', kind, '"'),
        .expected = join(known, " or "),
        .fix = near.empty() ? "use one of these, or register the kind with lamina::run"
                            : text("did you mean \"", near, "\"?")});
}

void require_ends(graph::Graph const& graph, Mode mode, std::string const& kind) {
  bool const trains = mode == Mode::train || mode == Mode::eval;
  std::string const end = trains ? "loss" : "logits";
  if (graph.find(end, Role::output) >= 0) return;
  fail({.code = "models.build." + end,
        .subject = text("model kind ", kind),
        .found = text("a graph without the output \"", end, '"'),
        .expected = trains ? "a loss, in modes train and eval" : "logits, in modes prefill and decode",
        .fix = "end the builder with Builder::head, or with its loss() and output()"});
}

/// Random initial values are named by a hash of the parameter's name: two equal hashes would be two equal tensors.
void require_distinct(graph::Graph const& graph) {
  std::map<std::uint32_t, std::string> seen;
  for (int const p : graph.parameters()) {
    auto const& v = graph.value(p);
    if (v.init.kind != graph::Init::Kind::normal && v.init.kind != graph::Init::Kind::uniform) continue;
    auto const [at, inserted] = seen.try_emplace(graph::operation_id(v.name), v.name);
    if (inserted) continue;
    fail({.code = "models.build.initial",
          .subject = text("initial values of ", v.name),
          .found = text("the same hash as ", at->second),
          .expected = "names of different hashes",
          .fix = "rename one of the two"});
  }
}

}  // namespace

graph::Graph build(config::Model const& model, BuildRequest const& request,
                   std::vector<Registration> const& registered) {
  Builder builder(request);
  find_builder(model.kind, registered)(builder, model);
  auto graph = builder.finish();
  require_ends(graph, request.mode, model.kind);
  require_distinct(graph);
  if (request.mode == Mode::train) graph::differentiate(graph, graph.find("loss", Role::output));
  return graph;
}

void fill_initial(graph::Value const& parameter, std::int64_t seed, std::int64_t first, std::int64_t count,
                  float* out) {
  bool const uniform = parameter.init.kind == graph::Init::Kind::uniform;
  if (parameter.init.kind != graph::Init::Kind::normal && !uniform) {
    std::fill(out, out + count, parameter.init.kind == graph::Init::Kind::ones ? 1.0F : 0.0F);
    return;
  }
  auto const operation = graph::operation_id(parameter.name);
  if (uniform) {
    for (std::int64_t i = 0; i < count; ++i) {
      auto const word =
          Philox::word(static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(first + i), 0, operation);
      out[i] = static_cast<float>(parameter.init.bound * (2 * static_cast<double>(Philox::uniform(word)) - 1));
    }
    return;
  }
  std::array<double, 4> quad{};
  for (std::int64_t i = 0; i < count; ++i) {
    auto const element = static_cast<std::uint64_t>(first + i);
    if (i == 0 || element % 4 == 0) {
      quad = math::normals(Philox::block(static_cast<std::uint64_t>(seed), element, 0, operation));
    }
    out[i] = static_cast<float>(parameter.init.stddev * quad[element % 4]);
  }
}

}  // namespace lamina::models
