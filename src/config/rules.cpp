#include "config/detail/rules.hpp"

#include <algorithm>
#include <cstdlib>

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
  rules.data();
  rules.batch();
  rules.lr_schedule();
  rules.mesh();
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
