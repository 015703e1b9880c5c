#include "lamina/train/session.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "lamina/base/error.hpp"
#include "lamina/base/hash.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/safetensors.hpp"
#include "lamina/io/layout.hpp"
#include "lamina/kernels/for_each_part.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/train/environment.hpp"

namespace lamina::train {
namespace {

graph::Graph const& main_graph(plan::Graphs const& graphs, plan::Purpose purpose) {
  switch (purpose) {
    case plan::Purpose::train:
      return graphs.train;
    case plan::Purpose::eval:
      return graphs.eval;
    case plan::Purpose::generate:
      break;
  }
  return graphs.prefill;
}

/// The boxes a rank holds of a buffer's tensor; a binding lists none where it holds all of it.
std::vector<io::Box> boxes_of(program::Binding const& binding, std::size_t buffer) {
  std::vector<io::Box> boxes;
  if (buffer >= binding.slabs.size()) return boxes;
  for (auto const& slab : binding.slabs[buffer]) boxes.push_back({slab.offset, slab.extent});
  return boxes;
}

}  // namespace

plan::Graphs build_graphs(config::RunConfig const& config, plan::Purpose purpose,
                          std::vector<models::Registration> const& registered, GenerateSizes const& sizes) {
  auto const compute = config.precision.compute == "bf16" ? DType::bf16 : DType::f32;
  auto const request = [&](models::Mode mode, std::int64_t batch, std::int64_t tokens) {
    return models::BuildRequest{
        .mode = mode, .batch = batch, .tokens = tokens, .context = config.model.context, .compute = compute};
  };
  auto const build = [&](models::Mode mode, std::int64_t batch, std::int64_t tokens) {
    return models::build(config.model, request(mode, batch, tokens), registered);
  };
  auto const batch = config.batch.micro * config.mesh.dp;  // all replicas side by side
  plan::Graphs graphs;
  if (purpose == plan::Purpose::train) graphs.train = build(models::Mode::train, batch, config.model.context);
  if (purpose != plan::Purpose::generate) graphs.eval = build(models::Mode::eval, batch, config.model.context);
  if (purpose == plan::Purpose::generate) {
    graphs.prefill = build(models::Mode::prefill, sizes.batch, std::min(sizes.chunk, config.model.context));
    graphs.decode = build(models::Mode::decode, sizes.batch, 1);
  }
  return graphs;
}

plan::Machine find_machine(comm::Communicator const& world, config::RunConfig const& config, int threads) {
  auto const local = static_cast<std::int64_t>(world.node_members().size());
  auto const usable = usable_memory_bytes(local);
  auto const here = config.memory.limit > 0 ? std::min(config.memory.limit, usable) : usable;
  auto const compute = config.precision.compute == "bf16" ? DType::bf16 : DType::f32;
  // Every kernel takes packed weights; ranks that would not ask for them follow those that do.
  return {.threads = static_cast<int>(world.all_max(threads)),
          .memory_bytes = world.all_min(here),
          .packs_weights = world.all_max(kernels::wants_packed_weights(compute) ? 1 : 0) > 0};
}

Session::Session(config::RunConfig config, comm::Communicator world, Options const& options)
    : config_(std::move(config)), world_(std::move(world)) {
  graphs_ = build_graphs(config_, options.purpose, options.registered, options.generate);
  auto const machine = find_machine(world_, config_, options.threads);
  plan_ = plan::make(graphs_, config_, world_.size(), machine, options.purpose);
  plan_hash_ = plan::hash(*plan_);
  auto const hashes = world_.all_gather_bytes(hex(plan_hash_));
  for (std::size_t r = 0; r < hashes.size(); ++r) {
    if (hashes[r] == hashes[0]) continue;
    fail({.code = "plan.mismatch.hash",
          .subject = text("rank ", r),
          .found = text("plan ", hashes[r]),
          .expected = text("plan ", hashes[0], ", as on rank 0"),
          .fix = "start every rank with the same program, run file and --set options"});
  }
  resident_before_ = peak_resident_bytes();
  executor_ = std::make_unique<runtime::Executor>(plan::lower(*plan_, world_.rank()), world_);
  prefill_tokens_ = std::min(options.generate.chunk, config_.model.context);
  auto const& graph = main_graph(graphs_, options.purpose);
  for (int const id : graph.parameters()) {
    auto const& value = graph.value(id);
    parameter_count_ += value.spec.count();
    if (value.name.ends_with("positions.weight")) position_count_ += value.spec.count();
  }
}

std::int64_t Session::dp_rank() const {
  auto const& binding = executor_->set().binding;
  auto const at = std::ranges::find(binding.axes, "dp");
  return at == binding.axes.end() ? 0 : binding.coordinates[static_cast<std::size_t>(at - binding.axes.begin())];
}

std::int64_t Session::dp_size() const { return config_.mesh.dp; }

double Session::flops_per_token() const {
  auto const& m = config_.model;
  return 6.0 * static_cast<double>(parameter_count_ - position_count_) +
         6.0 * static_cast<double>(m.layers * m.hidden * m.context);
}

void Session::set_parameters(std::function<Filler(graph::Value const&)> const& filler_of) {
  auto const& set = executor_->set();
  auto const& graph = !graphs_.train.nodes().empty()  ? graphs_.train
                      : !graphs_.eval.nodes().empty() ? graphs_.eval
                                                      : graphs_.prefill;
  for (std::size_t b = 0; b < set.shape->buffers.size(); ++b) {
    auto const& buffer = set.shape->buffers[b];
    bool const moment = buffer.role == Role::moment1 || buffer.role == Role::moment2;
    if (buffer.role != Role::parameter && !moment) continue;
    auto const memory = executor_->buffer(buffer.name, buffer.role);
    auto const boxes = boxes_of(set.binding, b);
    auto const held = io::count_of(buffer.global_shape, boxes);
    if (moment || held < memory.spec.count()) {  // what a vocabulary that does not divide is padded with stays zero
      std::memset(memory.data, 0, static_cast<std::size_t>(memory.spec.bytes()));
    }
    if (moment || held == 0) continue;
    auto const fill = filler_of(graph.value(graph.find(buffer.name, Role::parameter)));
    for (auto const& run : io::runs_of(buffer.name, buffer.global_shape, boxes)) {
      fill(run.global, run.count, memory.as<float>() + run.local);
    }
  }
  if (executor_->has_program("refresh")) executor_->run("refresh");
}

void Session::initialise() {
  auto const seed = config_.run.seed;
  if (config_.model.init == "random") {
    set_parameters([&](graph::Value const& value) -> Filler {
      return [&value, seed](std::int64_t first, std::int64_t count, float* out) {
        constexpr std::int64_t grain = 4096;  // a hundred microseconds
        kernels::for_each_part(count, grain, [&](std::int64_t begin, std::int64_t end) {
          models::fill_initial(value, seed, first + begin, end - begin, out + begin);
        });
      };
    });
    return;
  }
  auto const file = checkpoint::SafeTensors::open(config_.model.init);
  bool const gpt2 = config_.model.kind == "gpt";  // other models keep their own names and shapes
  set_parameters([&](graph::Value const& value) -> Filler {
    auto whole = gpt2 ? checkpoint::read_gpt2_parameter(file, value.name, value.spec.shape)
                      : checkpoint::read_parameter(file, value.name, value.spec.shape);
    return [whole = std::move(whole)](std::int64_t first, std::int64_t count, float* out) {
      std::copy_n(whole.data() + first, count, out);
    };
  });
}

std::vector<checkpoint::Piece> Session::pieces() const {
  std::vector<checkpoint::Piece> all;
  for (auto& [copies, pieces] : pieces_by_copies()) std::move(pieces.begin(), pieces.end(), std::back_inserter(all));
  return all;
}

std::map<plan::Copies, std::vector<checkpoint::Piece>> Session::pieces_by_copies() const {
  auto const& set = executor_->set();
  std::map<plan::Copies, std::vector<checkpoint::Piece>> result;
  for (std::size_t b = 0; b < set.shape->buffers.size(); ++b) {
    auto const& buffer = set.shape->buffers[b];
    if (buffer.role != Role::parameter && buffer.role != Role::moment1 && buffer.role != Role::moment2) continue;
    auto memory = executor_->buffer(buffer.name, buffer.role);
    auto const boxes = boxes_of(set.binding, b);
    // A vocabulary that does not divide is padded at the end, which is nobody's.
    if (auto const held = io::count_of(buffer.global_shape, boxes); held < memory.spec.count()) {
      memory.spec.shape = {held};
    }
    result[plan::copies_of(*plan_, world_.rank(), buffer)].push_back(
        {.name = buffer.name,
         .role = buffer.role,
         .global_shape = buffer.global_shape,
         .slabs = b < set.binding.slabs.size() ? set.binding.slabs[b] : std::vector<program::Hyperslab>{},
         .memory = memory,
         .owner = true});
  }
  return result;
}

void Session::gather_parameters() {
  if (executor_->has_program("gather")) executor_->run("gather");
}

std::vector<checkpoint::Piece> Session::owned_pieces() {
  gather_parameters();
  std::vector<checkpoint::Piece> mine;
  for (auto const& [copies, pieces] : pieces_by_copies()) {
    auto share = checkpoint::split_among_replicas(pieces, copies.index, copies.count);
    std::move(share.begin(), share.end(), std::back_inserter(mine));
  }
  return mine;
}

checkpoint::Found Session::load(std::string const& run_dir, std::int64_t step) {
  auto found = checkpoint::load(run_dir, step, pieces(), world_);
  if (found.any && executor_->has_program("refresh")) executor_->run("refresh");
  return found;
}

double const* Session::loss(std::string const& output) const {
  bool const here = executor_->set().shape->find_buffer(output, Role::output) >= 0;
  if (!here || !plan::counts_loss(*plan_, world_.rank())) return nullptr;
  return executor_->buffer(output, Role::output).as<double>();
}

void Session::sum_over_ranks(double* values, int count) {
  auto* control = executor_->buffer("control", Role::input).as<double>();
  std::fill_n(control, 16, 0.0);
  std::copy_n(values, count, control);
  executor_->run("control");
  std::copy_n(control, count, values);
}

data::Sources open_data(config::RunConfig const& config) {
  auto const& model = config.model;
  if (model.kind != "layers") return data::open(config.data, {.tokens = model.context, .vocab = model.vocab});
  return data::open(config.data, {.features = models::layers_input(model),
                                  .outputs = models::layers_outputs(model),
                                  .values = model.loss == "mse"});
}

}  // namespace lamina::train
