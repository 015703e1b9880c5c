#include "config/detail/keys.hpp"

#include <algorithm>

#include "lamina/base/text.hpp"

// A row reads: section, key, kind, member, help, then what limits it. `AT(x)` is the member of RunConfig as a Field.
#define LAMINA_AT(member) [](RunConfig& c) -> Field { return &c.member; }

namespace lamina::config::detail {
namespace {

constexpr double most_steps = 1e12, most_dim = 1 << 24, most_ranks = 1 << 20, a_year = 3.2e7;

// One row is one or two lines.
// clang-format off
std::array const table{
    Key{"run", "dir", Kind::text, LAMINA_AT(run.dir), "metrics, checkpoints and the resolved run file go here",
        {.required = true, .basic = true}},
    Key{"run", "seed", Kind::integer, LAMINA_AT(run.seed), "of initial weights, dropout and sample order",
        {.max = 9e15, .basic = true}},
    Key{"run", "steps", Kind::integer, LAMINA_AT(run.steps), "optimizer steps of the whole run", {.min = 1,
        .max = most_steps, .basic = true}},
    Key{"run", "determinism", Kind::choice, LAMINA_AT(run.determinism),
        "layout: repeats its bits; fast: may reorder sums; canonical: equal bits on every mesh, slow",
        {.choices = "fast|layout|canonical"}},

    Key{"model", "kind", Kind::choice, LAMINA_AT(model.kind),
        "gpt, layers (any feed-forward network), or a kind that the program registered",
        {.choices = "gpt|layers", .required = true, .basic = true}},
    Key{"model", "layers", Kind::layers, [](RunConfig& c) -> Field { return Layers{&c.model.layers,
        &c.model.network}; }, "gpt: number of blocks; layers: [{ op = \"linear\", out = 10, name = \"fc\" }, ...]",
        {.min = 1, .max = 10000, .automatic = "auto", .basic = true}},
    Key{"model", "hidden", Kind::integer, LAMINA_AT(model.hidden), "width of the residual stream; required for gpt",
        {.min = 1, .max = most_dim, .automatic = "auto", .basic = true, .of = "gpt"}},
    Key{"model", "heads", Kind::integer, LAMINA_AT(model.heads),
        "attention heads, a divisor of hidden; required for gpt", 
        {.min = 1, .max = 65536, .automatic = "auto", .basic = true, .of = "gpt"}},
    Key{"model", "context", Kind::integer, LAMINA_AT(model.context),
        "tokens of a sample; auto: those of a Hugging Face model.init, else 1024",
        {.min = 1, .max = most_dim, .automatic = "auto", .basic = true, .of = "gpt"}},
    Key{"model", "vocab", Kind::integer, LAMINA_AT(model.vocab), "auto: the tokenizer's", {.min = 1, .max = 1 << 30,
        .automatic = "auto", .of = "gpt"}},
    Key{"model", "ff", Kind::integer, LAMINA_AT(model.ff), "width of the feed-forward part; auto: 4 * hidden",
        {.min = 1, .max = most_dim, .automatic = "auto", .of = "gpt"}},
    Key{"model", "norm", Kind::choice, LAMINA_AT(model.norm), "layer norm before or after each part",
        {.choices = "pre|post", .of = "gpt"}},
    Key{"model", "activation", Kind::choice, LAMINA_AT(model.activation), "gelu is its tanh form",
        {.choices = "gelu|relu", .of = "gpt"}},
    Key{"model", "causal", Kind::boolean, LAMINA_AT(model.causal), "a token sees only those before it", {.of = "gpt"}},
    Key{"model", "positions", Kind::choice, LAMINA_AT(model.positions), "position embeddings",
        {.choices = "learned|none", .of = "gpt"}},
    Key{"model", "tied", Kind::boolean, LAMINA_AT(model.tied), "the head shares the embedding", {.of = "gpt"}},
    Key{"model", "head_bias", Kind::boolean, LAMINA_AT(model.head_bias), "a bias per word of the vocabulary", {.of = "gpt"}},
    Key{"model", "dropout", Kind::real, LAMINA_AT(model.dropout), "probability, after embedding and each part",
        {.max = 1, .below_max = true, .of = "gpt"}},
    Key{"model", "init", Kind::text, LAMINA_AT(model.init),
        "random, a safetensors file, or a Hugging Face directory (its config.json fills the sizes)"},
    Key{"model", "input", Kind::integers, LAMINA_AT(model.input), "extents of a sample's input; required for layers",
        {.min = 1, .max = most_dim, .basic = true, .of = "layers"}},
    Key{"model", "loss", Kind::choice, LAMINA_AT(model.loss), "what the last layer's output is compared by",
        {.choices = "cross_entropy|mse", .basic = true, .of = "layers"}},

    Key{"data", "kind", Kind::choice, LAMINA_AT(data.kind),
        "tokens: nanoGPT, llm.c or Megatron shards; text: plain text; table: CSV, also .gz",
        {.choices = "tokens|text|table|synthetic", .required = true, .basic = true}},
    Key{"data", "train", Kind::texts, LAMINA_AT(data.train), "files or patterns; required except for synthetic",
        {.basic = true, .of = "tokens|text|table"}},
    Key{"data", "valid", Kind::texts, LAMINA_AT(data.valid), "files or patterns for evaluation",
        {.of = "tokens|text|table"}},
    Key{"data", "valid_fraction", Kind::real, LAMINA_AT(data.valid_fraction),
        "or the last part of the training data instead", {.max = 1, .below_max = true, .basic = true}},
    Key{"data", "shuffle", Kind::boolean, LAMINA_AT(data.shuffle), "a new order each epoch, a function of the seed"},
    Key{"data", "tokenizer", Kind::text, LAMINA_AT(data.tokenizer), "for text: bytes, or a tokenizer.json"},
    Key{"data", "label", Kind::texts, LAMINA_AT(data.label),
        "columns to predict, by header or number from 1; [] is the last ones", {.of = "table"}},
    Key{"data", "columns", Kind::texts, LAMINA_AT(data.columns), "input columns; [] is all others", {.of = "table"}},
    Key{"data", "normalise", Kind::choice, LAMINA_AT(data.normalise),
        "standard: mean 0 and deviation 1 of each input column over the training rows", {.choices = "none|standard",
        .of = "table"}},
    Key{"data", "shape", Kind::integers, LAMINA_AT(data.shape), "extents of a sample's input; [] is model.input",
        {.min = 1, .max = most_dim, .of = "synthetic"}},
    Key{"data", "classes", Kind::integer, LAMINA_AT(data.classes), "auto: as many as the model has outputs",
        {.min = 1, .max = most_dim, .automatic = "auto", .of = "synthetic"}},
    Key{"data", "vocab", Kind::integer, LAMINA_AT(data.vocab), "auto: model.vocab", {.min = 1, .max = 1 << 30,
        .automatic = "auto", .of = "synthetic"}},
    Key{"data", "samples", Kind::integer, LAMINA_AT(data.samples), "samples, validation included", {.min = 1,
        .max = 1e12, .of = "synthetic"}},
    Key{"data", "seed", Kind::integer, LAMINA_AT(data.seed), "what is drawn; apart from run.seed", {.max = 9e15,
        .of = "synthetic"}},

    Key{"batch", "global", Kind::integer, LAMINA_AT(batch.global), "samples per optimizer step over all replicas",
        {.min = 1, .max = most_dim, .automatic = "auto", .basic = true}},
    Key{"batch", "per_replica", Kind::integer, LAMINA_AT(batch.per_replica),
        "or samples per step and replica (weak scaling); 0: not used", {.max = most_dim}},
    Key{"batch", "micro", Kind::integer, LAMINA_AT(batch.micro),
        "samples per micro-batch: less memory; the accumulation count follows", {.min = 1, .max = most_dim,
        .basic = true}},
    Key{"batch", "shares", Kind::integers, LAMINA_AT(batch.shares),
        "relative work of unlike replicas, such as [3, 1]; [] is all alike", {.min = 1, .max = 1e6}},

    Key{"optimizer", "kind", Kind::choice, LAMINA_AT(optimizer.kind), "sgd has momentum", {.choices = "adamw|sgd",
        .basic = true}},
    Key{"optimizer", "lr", Kind::real, LAMINA_AT(optimizer.lr), "peak learning rate", {.max = 1e6, .basic = true}},
    Key{"optimizer", "betas", Kind::two_reals, [](RunConfig& c) -> Field { return TwoReals{&c.optimizer.beta1,
        &c.optimizer.beta2}; }, "of adamw", {.max = 1, .below_max = true}},
    Key{"optimizer", "momentum", Kind::real, LAMINA_AT(optimizer.momentum), "of sgd", {.max = 1, .below_max = true}},
    Key{"optimizer", "eps", Kind::real, LAMINA_AT(optimizer.eps), "added to the root of the second moment",
        {.min = 1e-30, .max = 1}},
    Key{"optimizer", "weight_decay", Kind::real, LAMINA_AT(optimizer.weight_decay),
        "decoupled, on weight matrices and embeddings", {.max = 1e3, .basic = true}},
    Key{"optimizer", "clip_norm", Kind::real, LAMINA_AT(optimizer.clip_norm),
        "largest norm of the gradient; 0: no limit", {.basic = true}},

    Key{"lr_schedule", "kind", Kind::choice, LAMINA_AT(lr_schedule.kind), "after the warm-up",
        {.choices = "constant|cosine|linear", .basic = true}},
    Key{"lr_schedule", "warmup_steps", Kind::integer, LAMINA_AT(lr_schedule.warmup_steps), "linear from 0 to lr",
        {.max = most_steps, .basic = true}},
    Key{"lr_schedule", "decay_steps", Kind::integer, LAMINA_AT(lr_schedule.decay_steps),
        "step at which `min` is reached; auto: run.steps", {.min = 1, .max = most_steps, .automatic = "auto"}},
    Key{"lr_schedule", "min", Kind::real, LAMINA_AT(lr_schedule.min), "last learning rate; auto: lr / 10", {.max = 1e6,
        .automatic = "auto", .automatic_value = -1}},

    Key{"precision", "compute", Kind::choice, LAMINA_AT(precision.compute),
        "bf16: products in bf16; parameters, gradients, moments, norms and loss stay f32", {.choices = "f32|bf16",
        .basic = true}},

    Key{"mesh", "dp", Kind::integer, LAMINA_AT(mesh.dp), "data-parallel replicas; auto: what is left of the ranks",
        {.min = 1, .max = most_ranks, .automatic = "auto"}},
    Key{"mesh", "tp", Kind::integer, LAMINA_AT(mesh.tp), "tensor parallel", {.min = 1, .max = most_ranks}},
    Key{"mesh", "pp", Kind::integer, LAMINA_AT(mesh.pp), "pipeline parallel", {.min = 1, .max = most_ranks}},
    Key{"mesh", "order", Kind::texts, LAMINA_AT(mesh.order), "outermost first: rank = (pp * DP + dp) * TP + tp"},

    Key{"parallel", "sequence_parallel", Kind::boolean, LAMINA_AT(parallel.sequence_parallel), "beside tp"},
    Key{"parallel", "zero", Kind::integer, LAMINA_AT(parallel.zero), "ZeRO stage over dp: 0, 1, 2 or 3", {.max = 3}},
    Key{"parallel", "overlap", Kind::boolean, LAMINA_AT(parallel.overlap),
        "reduce gradients while the backward goes on"},
    Key{"parallel", "bucket", Kind::bytes, LAMINA_AT(parallel.bucket), "gradients reduced in one call", {.min = 1,
        .max = 0x1p40}},
    Key{"parallel", "transport", Kind::choice, LAMINA_AT(parallel.transport), "what carries collectives",
        {.choices = "auto|mpi|shm|nccl", .not_yet = "shm|nccl"}},
    Key{"parallel", "split", Kind::splits, LAMINA_AT(parallel.split),
        "override the tp choice: [{ layers = \"part1.fc\", dim = \"out\" }]; out, in or none"},
    Key{"parallel", "fuse", Kind::boolean, LAMINA_AT(parallel.fuse), "fused operators; false for comparison"},

    Key{"pipeline", "schedule", Kind::choice, LAMINA_AT(pipeline.schedule), "order of micro-batches on the stages",
        {.choices = "gpipe|1f1b|interleaved|zb-h1|file"}},
    Key{"pipeline", "file", Kind::text, LAMINA_AT(pipeline.file),
        "for schedule = \"file\": lines like 0: F0 F1 B0 B1 (lamina plan --print schedule)", {.may_be_empty = true}},
    Key{"pipeline", "chunks", Kind::integer, LAMINA_AT(pipeline.chunks),
        "stages per pp coordinate, taken in turns (interleaved, file)",
        {.min = 1, .max = 1024}},
    Key{"pipeline", "stages", Kind::stages, LAMINA_AT(pipeline.stages),
        "or blocks per stage [7, 5], or [{ layers = [\"embed\", \"blocks.0-5\"], at = 0 }, ...]"},

    Key{"placement", "default", Kind::choice, LAMINA_AT(placement.default_device),
        "auto: the rank's GPU if it has one, else the CPU", {.choices = "auto|gpu|cpu", .not_yet = "gpu"}},
    Key{"placement", "rules", Kind::fixed, nullptr, "device per layer; later rules win", {.fixed = "[]"}},

    Key{"memory", "recompute", Kind::choice, LAMINA_AT(memory.recompute), "activations computed again in the backward",
        {.choices = "none|selective|full"}},
    Key{"memory", "recompute_layers", Kind::names, LAMINA_AT(memory.recompute_layers),
        "which layers recompute: paths, ranges, lists"},
    Key{"memory", "limit", Kind::bytes, LAMINA_AT(memory.limit),
        "per rank; a plan above it is refused before anything is allocated", {.min = 1, .max = 0x1p60,
        .automatic = "auto"}},

    Key{"device", "threads", Kind::integer, LAMINA_AT(device.threads),
        "per rank; 0: the cores of the binding mask, shared fairly", {.max = 4096}},

    Key{"eval", "every_steps", Kind::integer, LAMINA_AT(eval.every_steps), "0: never during the run",
        {.max = most_steps, .basic = true}},
    Key{"eval", "batches", Kind::integer, LAMINA_AT(eval.batches), "global batches per evaluation", {.min = 1,
        .max = most_steps}},

    Key{"checkpoint", "every_steps", Kind::integer, LAMINA_AT(checkpoint.every_steps),
        "0: not by steps; the last step is always saved", {.max = most_steps, .basic = true}},
    Key{"checkpoint", "every", Kind::seconds, LAMINA_AT(checkpoint.every_seconds), "and / or by time; \"0 s\": not",
        {.max = a_year}},
    Key{"checkpoint", "keep", Kind::integer, LAMINA_AT(checkpoint.keep), "newest checkpoints that stay", {.min = 1,
        .max = 1e6}},
    Key{"checkpoint", "keep_every", Kind::integer, LAMINA_AT(checkpoint.keep_every),
        "checkpoints of multiples of this step stay forever; 0: none", {.max = most_steps}},
    Key{"checkpoint", "files", Kind::integer, LAMINA_AT(checkpoint.files), "HDF5 files the tensors are spread over",
        {.min = 1, .max = 65536}},
    Key{"checkpoint", "async", Kind::boolean, LAMINA_AT(checkpoint.async), "write beside the training; not active yet: every save waits until it is on the disk"},
    Key{"checkpoint", "on_save_error", Kind::choice, LAMINA_AT(checkpoint.on_save_error),
        "when the disk is full, for example", {.choices = "continue|stop"}},

    Key{"guard", "policy", Kind::choice, LAMINA_AT(guard.policy), "on a loss or gradient that is not finite",
        {.choices = "warn|skip|rollback|stop",
        .not_yet = "rollback"}},
    Key{"guard", "spike_factor", Kind::real, LAMINA_AT(guard.spike_factor), "times the running median; 0: off",
        {.max = 1e9, .available_to = 0}},
    Key{"guard", "replica_hash_every_steps", Kind::integer, LAMINA_AT(guard.replica_hash_every_steps),
        "compare the replicas' parameters; 0: never", {.max = most_steps, .available_to = 0}},

    Key{"watchdog", "report", Kind::seconds, LAMINA_AT(watchdog.report_seconds),
        "say who waits for whom after this time without progress; \"0 s\": never", {.max = a_year, .available_to = 0}},
    Key{"watchdog", "abort", Kind::seconds, LAMINA_AT(watchdog.abort_seconds),
        "end a job that hangs with code 8; \"0 s\": never", {.max = a_year, .available_to = 0}},

    Key{"log", "every_steps", Kind::integer, LAMINA_AT(log.every_steps), "a line of metrics.jsonl", {.min = 1,
        .max = most_steps}},
    Key{"log", "tensorboard", Kind::boolean, LAMINA_AT(log.tensorboard), "write an event file"},
    Key{"log", "trace_steps", Kind::integers, LAMINA_AT(log.trace_steps),
        "steps that write a Chrome trace of all ranks, such as [3, 4]", {.min = 1, .max = most_steps}},
};
// clang-format on

}  // namespace

std::span<Key const> all_keys() { return table; }

std::vector<std::string_view> const& all_sections() {
  static auto const sections = [] {
    std::vector<std::string_view> names;
    for (auto const& key : table) {
      if (names.empty() || names.back() != key.section) names.push_back(key.section);
    }
    return names;
  }();
  return sections;
}

Key const* find_key(std::string_view section, std::string_view name) {
  auto const at = std::ranges::find_if(table, [&](Key const& k) { return k.section == section && k.name == name; });
  return at == table.end() ? nullptr : &*at;
}

std::vector<std::string> names_in(std::string_view section) {
  std::vector<std::string> names;
  for (auto const& key : table) {
    if (key.section == section) names.emplace_back(key.name);
  }
  return names;
}

std::vector<std::string> words_of(std::string_view choices) {
  return choices.empty() ? std::vector<std::string>{} : split(choices, '|');
}

bool is_of_kind(Key const& key, RunConfig const& config) {
  if (key.limits.of.empty()) return true;
  auto const& kind = key.section == "model" ? config.model.kind : config.data.kind;
  auto const kinds = words_of(find_key(key.section, "kind")->limits.choices);
  if (std::ranges::find(kinds, kind) == kinds.end()) return true;  // registered, or not known: told elsewhere
  auto const mine = words_of(key.limits.of);
  return std::ranges::find(mine, kind) != mine.end();
}

std::vector<std::string> available_choices(Key const& key) {
  auto words = words_of(key.limits.choices);
  auto const later = words_of(key.limits.not_yet);
  std::erase_if(words, [&](std::string const& w) { return std::ranges::find(later, w) != later.end(); });
  return words;
}

}  // namespace lamina::config::detail
