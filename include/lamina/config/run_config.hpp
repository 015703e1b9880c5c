#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lamina/tensor/attributes.hpp"

/// The run file as typed structs. Defaults here are the defaults of the file; names follow the file's keys.
namespace lamina::config {

struct Run {
  std::string dir;  // required
  std::int64_t seed = 1;
  std::int64_t steps = 200;
  std::string determinism = "layout";  // fast | layout | canonical
  friend bool operator==(Run const&, Run const&) = default;
};

/// One table of model.layers of kind "layers".
struct LayerSpec {
  std::string op;        // linear | relu | gelu | layer_norm | dropout | flatten
  std::string name;      // layer path; "": the op and a number, "relu1"
  std::int64_t out = 0;  // linear: output features
  bool bias = true;      // linear
  double p = 0.5;        // dropout: probability
  friend bool operator==(LayerSpec const&, LayerSpec const&) = default;
};

struct Model {
  std::string kind;                                // required: gpt, layers, or a registered one
  std::int64_t layers = 0, hidden = 0, heads = 0;  // required for gpt
  std::int64_t context = 1024;                     // 0: "auto", that of `init`; resolved
  std::int64_t vocab = 0;                          // 0: "auto", the tokenizer's
  std::int64_t ff = 0;                             // 0: "auto", 4 * hidden; resolved by `resolve`
  std::string norm = "pre";                        // pre | post
  std::string activation = "gelu";                 // gelu | relu
  bool causal = true;
  std::string positions = "learned";  // learned | none
  bool tied = true;
  bool head_bias = false;
  double dropout = 0.0;
  std::string init = "random";         // random, a safetensors file, a Hugging Face directory
  std::vector<std::int64_t> input;     // kind layers: extents of a sample's input
  std::string loss = "cross_entropy";  // kind layers: cross_entropy | mse
  std::vector<LayerSpec> network;      // kind layers; file: layers = [{ op = "linear", out = 10 }, ...]
  Attributes custom;                   // keys of a registered model kind
  friend bool operator==(Model const&, Model const&) = default;
};

struct Data {
  std::string kind;                // required: tokens | text | table | synthetic
  std::vector<std::string> train;  // glob patterns; required except for synthetic
  std::vector<std::string> valid;
  double valid_fraction = 0;
  bool shuffle = true;
  std::string tokenizer = "bytes";   // bytes | path of a tokenizer.json
  std::vector<std::string> label;    // table: columns to predict, by header or number from 1; none: the last ones
  std::vector<std::string> columns;  // table: input columns; none: all others
  std::string normalise = "none";    // table: none | standard
  std::vector<std::int64_t> shape;   // synthetic: of a sample's input; none: model.input
  std::int64_t classes = 0;          // synthetic: 0: "auto", the model's outputs
  std::int64_t vocab = 0;            // synthetic: 0: "auto", model.vocab
  std::int64_t samples = 1024;       // synthetic
  std::int64_t seed = 1;             // synthetic
  friend bool operator==(Data const&, Data const&) = default;
};

struct Batch {
  std::int64_t global = 8;       // samples per optimizer step over all replicas; 0 with per_replica until resolved
  std::int64_t per_replica = 0;  // or this one (weak scaling); 0: not given, and after `resolve`
  std::int64_t micro = 4;        // samples per micro-batch
  /// Relative work of unlike replicas, one per dp coordinate; none: all alike.
  std::vector<std::int64_t> shares;
  friend bool operator==(Batch const&, Batch const&) = default;
};

struct Optimizer {
  std::string kind = "adamw";  // adamw | sgd
  double lr = 6e-4;
  double beta1 = 0.9, beta2 = 0.95;  // file: betas = [0.9, 0.95]
  double momentum = 0.9;             // sgd
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip_norm = 1.0;  // 0: no clipping
  friend bool operator==(Optimizer const&, Optimizer const&) = default;
};

struct LrSchedule {
  std::string kind = "cosine";  // constant | cosine | linear
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps = 0;  // 0: "auto", run.steps; resolved
  double min = -1;               // negative: "auto", lr / 10; resolved
  friend bool operator==(LrSchedule const&, LrSchedule const&) = default;
};

struct Precision {
  std::string compute = "f32";  // f32 | bf16
  friend bool operator==(Precision const&, Precision const&) = default;
};

struct Mesh {
  std::int64_t dp = 0;  // 0: "auto", what is left of the ranks
  std::int64_t tp = 1, pp = 1;
  std::vector<std::string> order = {"pp", "dp", "tp"};  // outermost first
  friend bool operator==(Mesh const&, Mesh const&) = default;
};

/// How the products of some layers are split over tp.
struct LayerSplit {
  std::vector<std::string> layers;  // paths, ranges, "*"; see plan/detail/selection.hpp
  std::string dim;                  // out (column) | in (row) | none
  friend bool operator==(LayerSplit const&, LayerSplit const&) = default;
};

struct Parallel {
  bool sequence_parallel = true;
  std::int64_t zero = 1;
  bool overlap = true;
  std::int64_t bucket = 25 << 20;  // bytes
  std::string transport = "auto";  // auto | mpi
  std::vector<LayerSplit> split;   // overrides the choice of the plan; later ones win
  bool fuse = true;
  friend bool operator==(Parallel const&, Parallel const&) = default;
};

/// Layers that stay together, and the pp coordinate they are at.
struct StageLayers {
  std::vector<std::string> layers;
  std::int64_t at = 0;
  friend bool operator==(StageLayers const&, StageLayers const&) = default;
};

/// At most one of the two is given; neither: "auto".
struct Stages {
  std::vector<std::int64_t> blocks;  // per stage
  std::vector<StageLayers> lists;
  bool automatic() const { return blocks.empty() && lists.empty(); }
  friend bool operator==(Stages const&, Stages const&) = default;
};

struct Pipeline {
  std::string schedule = "1f1b";  // gpipe | 1f1b | interleaved | zb-h1 | file
  std::string file;               // for schedule = "file"
  std::int64_t chunks = 1;        // virtual stages per coordinate
  Stages stages;
  /// Without lists of layers: the other schedules have one.
  std::int64_t stages_per_coordinate() const { return schedule == "interleaved" || schedule == "file" ? chunks : 1; }
  friend bool operator==(Pipeline const&, Pipeline const&) = default;
};

struct Placement {
  std::string default_device = "auto";  // file: default = auto | gpu | cpu
  friend bool operator==(Placement const&, Placement const&) = default;
};

struct Memory {
  std::string recompute = "none";  // none | selective | full
  std::vector<std::string> recompute_layers = {"blocks.*"};
  std::int64_t limit = 0;  // bytes per rank; 0: "auto"
  friend bool operator==(Memory const&, Memory const&) = default;
};

struct Device {
  std::int64_t threads = 0;  // 0: cores of the binding mask / ranks that share it
  friend bool operator==(Device const&, Device const&) = default;
};

struct Eval {
  std::int64_t every_steps = 0;
  std::int64_t batches = 20;
  friend bool operator==(Eval const&, Eval const&) = default;
};

struct Checkpoint {
  std::int64_t every_steps = 100;
  double every_seconds = 0;  // file: every = "30 min"; 0: off
  std::int64_t keep = 2;
  std::int64_t keep_every = 0;
  std::int64_t files = 1;
  bool async = true;
  std::string on_save_error = "continue";  // continue | stop
  friend bool operator==(Checkpoint const&, Checkpoint const&) = default;
};

struct Guard {
  std::string policy = "stop";  // warn | skip | rollback | stop
  double spike_factor = 0;
  std::int64_t replica_hash_every_steps = 0;
  friend bool operator==(Guard const&, Guard const&) = default;
};

struct Watchdog {
  double report_seconds = 0;  // file: report = "30 s"; 0: never
  double abort_seconds = 0;   // file: abort = "10 min"; 0: never
  friend bool operator==(Watchdog const&, Watchdog const&) = default;
};

struct Log {
  std::int64_t every_steps = 1;
  bool tensorboard = true;
  std::vector<std::int64_t> trace_steps;
  friend bool operator==(Log const&, Log const&) = default;
};

/// Where the run file (or --set) gives a key: "model.tied" -> "run.toml:12:8". Defaults are not there. Equal values are
/// equal wherever they come from, so this takes no part in comparisons.
struct Given : std::map<std::string, std::string> {
  friend bool operator==(Given const&, Given const&) { return true; }
};

struct RunConfig {
  Run run;
  Model model;
  Data data;
  Batch batch;
  Optimizer optimizer;
  LrSchedule lr_schedule;
  Precision precision;
  Mesh mesh;
  Parallel parallel;
  Pipeline pipeline;
  Placement placement;
  Memory memory;
  Device device;
  Eval eval;
  Checkpoint checkpoint;
  Guard guard;
  Watchdog watchdog;
  Log log;
  Given given;
  friend bool operator==(RunConfig const&, RunConfig const&) = default;
};

/// A key that a registered model kind adds to [model]; see `lamina::run`.
struct CustomKey {
  std::string name;
  Attribute default_value;
  double min = -1e300, max = 1e300;  // range of numbers
  std::string help;
};
struct CustomModel {
  std::string kind;
  std::vector<CustomKey> keys;
};

/// Parses and checks a run file. All problems are reported at once as one Error ("config.<section>.<rule>"), each with
/// "<file>:<line>:<column>", the nearest known name for an unknown key, and the Lamina word for keys of other systems.
/// Keys that are known but belong to what Lamina cannot do yet are refused with "not available yet".
/// @param overrides "section.key=value" in TOML syntax (bare words are taken as text), from --set; they win.
RunConfig parse(std::string const& text, std::string const& file_name, std::vector<std::string> const& overrides = {},
                std::vector<CustomModel> const& custom = {});
/// Reads a file and parses it. @throws Error "config.file.*" when it cannot be read (exit 2).
RunConfig load(std::string const& path, std::vector<std::string> const& overrides = {},
               std::vector<CustomModel> const& custom = {});
/// What a run is resolved for. Training gives every replica a share of the global batch. The others take any number of
/// ranks: as many as the mesh of the training wants, with other replicas; else the model is not cut. A generation has
/// one replica and leaves the other ranks idle.
enum class Work : std::uint8_t { training, evaluation, generation };
/// Fills what depends on other values: ff, decay_steps, min, dp, global from per_replica; checks what needs the world
/// size (mesh product; for training, a sample for every replica) and lists the values that fit.
void resolve(RunConfig& config, std::int64_t world_size, Work work = Work::training);
/// The resolved file: every key, in the order of the README, itself a valid run file. parse(print(c)) == c.
std::string print(RunConfig const& config, std::vector<CustomModel> const& custom = {});
/// The value of one key ("pipeline.stages") as `print` writes it; "" where it writes nothing.
/// @pre the key is one of the run file's, not one of a registered model.
std::string value_of(RunConfig const& config, std::string_view key);

/// Samples per step of each replica, in the order of their contiguous ranges: in proportion to batch.shares, as even as
/// whole samples allow where all are alike. Sums to batch.global.
std::vector<std::int64_t> replica_samples(RunConfig const& config);
/// Micro-batches per replica and step: ceil(samples / micro) for the largest replica.
std::int64_t micro_batches(RunConfig const& config);

}  // namespace lamina::config
