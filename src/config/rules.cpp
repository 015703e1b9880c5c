#include "config/detail/rules.hpp"

#include <algorithm>
#include <cstdlib>

#include "config/detail/keys.hpp"
#include "lamina/base/text.hpp"

namespace lamina::config::detail {
namespace {

class Rules {
 public:
  Rules(RunConfig& config, Places const& given, std::vector<Problem>& problems)
      : c_(config), given_(given), problems_(problems) {}

  void model() {
    auto const& m = c_.model;
    if (m.init != "random" && !given_.contains("model.context")) c_.model.context = 0;  // the weights may say it
    if (m.kind == "gpt" && m.init == "random") {
      for (auto const& [name, value] : {std::pair{"layers", m.layers}, {"hidden", m.hidden}, {"heads", m.heads}}) {
        auto const key = text("model.", name);
        if (value != 0 || (given_.contains(key) && has_problem(key))) continue;
        add("model.kind",
            {.code = "config.model.required",
             .subject = text(key, " is required for kind = \"gpt\""),
             .found = given_.contains(key) ? "\"auto\", and no model.init to take it from" : "no such key",
             .expected = "layers, hidden and heads",
             .fix = "add it; GPT-2 124M has layers = 12, hidden = 768, heads = 12"});
      }
    }
    if (m.hidden > 0 && m.heads > 0 && m.hidden % m.heads != 0) {
      add("model.heads", {.code = "config.model.heads",
                          .subject = "the heads do not divide the model",
                          .found = text("model.hidden = ", m.hidden, ", model.heads = ", m.heads),
                          .expected = "model.heads divides model.hidden",
                          .fix = text("take model.heads from {", divisors_near(m.hidden, m.heads), "}")});
    }
  }

  /// A network of layers: its input and its list.
  void network() {
    auto const& m = c_.model;
    if (m.kind == "gpt" && !m.network.empty() && !has_problem("model.layers")) {
      add("model.layers", {.code = "config.model.layers",
                           .subject = "model.layers of kind \"gpt\"",
                           .found = "a list of layers",
                           .expected = "the number of blocks",
                           .fix = "write layers = 12, or kind = \"layers\""});
    }
    if (m.kind != "layers") return;
    if (m.network.empty() && !has_problem("model.layers")) {
      add(given_.contains("model.layers") ? "model.layers" : "model.kind",
          {.code = "config.model.required",
           .subject = "model.layers is required for kind = \"layers\"",
           .found = m.layers > 0 ? text(m.layers) : std::string("no such key"),
           .expected = "a list of tables, one a layer",
           .fix = "write layers = [{ op = \"linear\", out = 500 }, { op = \"relu\" }, { op = \"linear\", out = 10 }]"});
    }
    if (m.input.empty() && !has_problem("model.input")) {
      add(given_.contains("model.input") ? "model.input" : "model.kind",
          {.code = "config.model.required",
           .subject = "model.input is required for kind = \"layers\"",
           .found = given_.contains("model.input") ? "[]" : "no such key",
           .expected = "the extents of a sample's input",
           .fix = "write input = [20], or input = [28, 28] with { op = \"flatten\" } as the first layer"});
    }
    if (m.input.size() > 5) {
      add("model.input", {.code = "config.model.input",
                          .subject = "model.input",
                          .found = text(m.input.size(), " dims"),
                          .expected = "at most 5",
                          .fix = "join some of them: a linear layer sees a row of numbers"});
    }
  }

  /// Keys that the kind has no use for: their values would be ignored.
  void kinds() {
    static RunConfig const defaults;
    for (auto const& key : all_keys()) {
      auto const name = text(key.section, '.', key.name);
      if (is_of_kind(key, c_) || !given_.contains(name) || to_toml(key, c_) == to_toml(key, defaults)) continue;
      auto const& kind = key.section == "model" ? c_.model.kind : c_.data.kind;
      add(name, {.code = text("config.", key.section, ".of_kind"),
                 .subject = text(name, " means nothing for ", key.section, ".kind = \"", kind, '"'),
                 .found = text(key.name, " = ", to_toml(key, c_)),
                 .expected = text("this key with kind ", join(words_of(key.limits.of), " or "), " only"),
                 .fix = "remove it, or correct the kind"});
    }
    bool const samples = c_.data.kind == "table" || c_.data.kind == "synthetic";
    bool const tokens = c_.data.kind != "table";
    bool const fits = c_.model.kind == "gpt" ? tokens : c_.model.kind != "layers" || samples;
    if (!fits && !c_.data.kind.empty()) {
      add("data.kind", {.code = "config.data.model",
                        .subject = "the data do not fit the model",
                        .found = text("data.kind = \"", c_.data.kind, "\", model.kind = \"", c_.model.kind, '"'),
                        .expected = c_.model.kind == "gpt" ? "data of kind tokens, text or synthetic for a gpt"
                                                           : "data of kind table or synthetic for a network of layers",
                        .fix = "correct one of the two kinds"});
    }
    if (c_.data.train.empty() && c_.data.kind != "synthetic" && !has_problem("data.train")) {
      bool const given = given_.contains("data.train");
      add(given ? "data.train" : "data.kind",
          {.code = given ? "config.data.empty" : "config.data.required",
           .subject = "data.train is required",
           .found = given ? "[]" : "no such key",
           .expected = "a list of texts: files or patterns",
           .fix = "add it below [data]; `lamina new` writes a run file that works"});
    }
  }

  void data() {
    if (c_.data.valid.empty() || c_.data.valid_fraction == 0) return;
    add("data.valid_fraction", {.code = "config.data.conflict",
                                .subject = "data.valid and data.valid_fraction exclude each other",
                                .found = text(c_.data.valid.size(), " patterns and ", c_.data.valid_fraction),
                                .expected = "one of the two",
                                .fix = "remove one"});
  }

  void batch() {
    auto& b = c_.batch;
    if (b.per_replica > 0 && b.global > 0 && given_.contains("batch.global")) {
      add("batch.per_replica", {.code = "config.batch.conflict",
                                .subject = "batch.global and batch.per_replica exclude each other",
                                .found = text("global = ", b.global, ", per_replica = ", b.per_replica),
                                .expected = "one of the two",
                                .fix = "keep per_replica for weak scaling, global for everything else"});
    }
    if (b.per_replica > 0) b.global = 0;
    if (b.per_replica == 0 && b.global == 0) {
      add("batch.global", {.code = "config.batch.conflict",
                           .subject = "batch.global = \"auto\" needs batch.per_replica",
                           .found = "no batch.per_replica",
                           .expected = "batch.per_replica, the samples per step and replica",
                           .fix = "write global = 8, or add per_replica"});
    }
  }

  void lr_schedule() {
    auto const& s = c_.lr_schedule;
    if (s.kind == "constant") return;
    if (s.min > c_.optimizer.lr) {
      add("lr_schedule.min", {.code = "config.lr_schedule.min",
                              .subject = "the learning rate would rise",
                              .found = text("lr_schedule.min = ", s.min, ", optimizer.lr = ", c_.optimizer.lr),
                              .expected = "lr_schedule.min <= optimizer.lr",
                              .fix = "lower min, or leave it out: lr / 10"});
    }
    auto const decay = s.decay_steps > 0 ? s.decay_steps : c_.run.steps;
    if (s.warmup_steps > decay) {
      bool const given = s.decay_steps > 0;
      add("lr_schedule.warmup_steps",
          {.code = "config.lr_schedule.warmup",
           .subject = "the warm-up ends after the learning rate has fallen to its minimum",
           .found = text("warmup_steps = ", s.warmup_steps, ", ", given ? "decay_steps = " : "run.steps = ", decay),
           .expected = given ? "warmup_steps <= decay_steps"
                             : "warmup_steps <= run.steps, where the decay ends as no "
                               "decay_steps is given",
           .fix = text("take warmup_steps = ", std::max<std::int64_t>(1, decay / 10), ", or raise ",
                       given ? "decay_steps" : "run.steps", "; kind = \"constant\" does not decay")});
    }
  }

  void mesh() {
    auto sorted = c_.mesh.order;
    std::ranges::sort(sorted);
    if (sorted == std::vector<std::string>{"dp", "pp", "tp"}) return;
    add("mesh.order", {.code = "config.mesh.order",
                       .subject = "mesh.order",
                       .found = text('[', join(c_.mesh.order), ']'),
                       .expected = "each of \"pp\", \"dp\", \"tp\" once",
                       .fix = "order = [\"pp\", \"dp\", \"tp\"]"});
  }

  void pipeline() {
    auto const& p = c_.pipeline;
    if ((p.schedule == "file") == p.file.empty()) {
      add(p.file.empty() ? "pipeline.schedule" : "pipeline.file",
          {.code = "config.pipeline.file",
           .subject = "pipeline.file and schedule = \"file\" belong together",
           .found = text("schedule = \"", p.schedule, "\", file = \"", p.file, '"'),
           .expected = "both or neither",
           .fix =
               p.file.empty() ? "name the file of the schedule: file = \"my.schedule\"" : "write schedule = \"file\""});
    }
    auto const stages = c_.mesh.pp * p.stages_per_coordinate();
    if (!p.stages.blocks.empty() && std::ssize(p.stages.blocks) != stages) {
      add("pipeline.stages", {.code = "config.pipeline.stages",
                              .subject = "pipeline.stages gives another number of stages than the mesh",
                              .found = text(p.stages.blocks.size(), " counts, mesh.pp = ", c_.mesh.pp,
                                            ", pipeline.chunks = ", p.chunks, ", schedule = \"", p.schedule, '"'),
                              .expected = text(stages, p.stages_per_coordinate() > 1
                                                           ? " counts of blocks: mesh.pp * pipeline.chunks"
                                                           : text(" counts of blocks: mesh.pp",
                                                                  p.chunks > 1 ? "; this schedule has no chunks" : "")),
                              .fix = "give one count per stage, or \"auto\""});
    }
    for (auto const& list : p.stages.lists) {
      if (list.at < c_.mesh.pp) continue;
      add("pipeline.stages", {.code = "config.pipeline.stages",
                              .subject = text("pipeline.stages: layers ", join(list.layers)),
                              .found = text("at = ", list.at, ", mesh.pp = ", c_.mesh.pp),
                              .expected = text("a pp coordinate, 0 to ", c_.mesh.pp - 1),
                              .fix = text("correct it, or set mesh.pp = ", list.at + 1)});
    }
    if (!p.stages.lists.empty() && p.chunks > 1) {
      add("pipeline.chunks", {.code = "config.pipeline.stages",
                              .subject = "pipeline.chunks beside lists of layers",
                              .found = text("chunks = ", p.chunks, ", ", p.stages.lists.size(), " lists"),
                              .expected = "chunks = 1: lists may repeat a coordinate",
                              .fix = "remove chunks"});
    }
  }

  void shares() {
    auto const& b = c_.batch;
    if (b.shares.empty()) return;
    if (c_.parallel.zero >= 2) {
      add("batch.shares", {.code = "config.batch.shares",
                           .subject = "batch.shares with ZeRO stage 2 or 3",
                           .found = text("shares = [", join(b.shares), "], parallel.zero = ", c_.parallel.zero),
                           .expected = "parallel.zero = 0 or 1: under 2 and 3 the replicas exchange gradients or "
                                       "parameters in every micro-batch, so all need the same number of them",
                           .fix = "set parallel.zero = 1"});
    }
    if (b.per_replica > 0) {
      add("batch.shares", {.code = "config.batch.shares",
                           .subject = "batch.shares beside batch.per_replica",
                           .found = text("shares = [", join(b.shares), "], per_replica = ", b.per_replica),
                           .expected = "batch.global, which is what the shares divide",
                           .fix = "give batch.global instead of per_replica"});
    }
  }

 private:
  bool has_problem(std::string const& key) const {
    auto const at = given_.find(key);
    return at != given_.end() &&
           std::ranges::any_of(problems_, [&](Problem const& p) { return p.place.where == at->second.where; });
  }
  void add(std::string const& key, ErrorInfo info) {
    auto const at = given_.find(key);
    add_problem(problems_, at == given_.end() ? Place{} : at->second, std::move(info));
  }

  RunConfig& c_;
  Places const& given_;
  std::vector<Problem>& problems_;
};

}  // namespace

void check_rules(RunConfig& config, Places const& given, std::vector<Problem>& problems) {
  Rules rules(config, given, problems);
  rules.model();
  rules.network();
  rules.kinds();
  rules.data();
  rules.batch();
  rules.lr_schedule();
  rules.mesh();
  rules.pipeline();
  rules.shares();
}

std::string divisors_near(std::int64_t n, std::int64_t wanted, std::size_t most) {
  std::vector<std::int64_t> all;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    all.push_back(d);
    if (d * d != n) all.push_back(n / d);
  }
  std::ranges::sort(all, {}, [&](std::int64_t d) { return std::pair(std::abs(d - wanted), d); });
  if (all.size() > most) all.resize(most);
  std::ranges::sort(all);
  return join(all);
}

}  // namespace lamina::config::detail
