#include "plan/detail/pass.hpp"

#include <algorithm>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

Pass::Pass(Plan const& plan, Kind const& kind, program::Template& shape, Buffers& buffers, Part const& part,
           Schedule const& schedule)
    : plan_(plan),
      kind_(kind),
      shape_(shape),
      buffers_(buffers),
      part_(part),
      schedule_(schedule),
      writer_(plan, shape, buffers, part.program),
      crossings_(plan, part),
      table_(make_node_table(part, plan.at.size())),
      prototypes_(part.graph.nodes().size()),
      completed_(part.graph.nodes().size()),
      copies_(part.graph.nodes().size()),
      late_(find_late_sums(plan, part, actions(), table_)),
      lookups_(find_first_lookups(plan, part, actions(), table_)) {
  for (std::size_t f = 0; f < part.layouts.forms.size(); ++f) {
    auto const& form = part.layouts.forms[f];
    if (form.at_producer)
      completed_[static_cast<Index>(part.graph.value(form.value).producer)].push_back(static_cast<int>(f));
  }
  for (auto const& node : part.graph.nodes()) {
    for (std::size_t i = 0; i < node.in.size() && node.phase != graph::Phase::update; ++i) {
      copies_[static_cast<Index>(node.id)].push_back(working_copy(plan, part, node, static_cast<int>(i)));
    }
  }
}

void Pass::write() {
  plan_messages();
  plan_gathers();
  if (part_.trains()) plan_buckets();
  if (part_.trains() && lookups_.nodes.empty()) fetch_parameters();
  sent_.resize(actions().size());
  for (std::size_t a = 0; a < actions().size(); ++a) {
    micro_batch_ = actions()[a].micro_batch;
    wait_for_sends(a);
    if (a == 0) post_receives(0);
    if (a + 1 < actions().size()) post_receives(a + 1);
    int const before = reduction_;
    for (int const n : nodes(actions()[a])) write_node(part_.graph.node(n), a);
    if (reduction_ == before) settle(std::exchange(reduction_, -1), std::exchange(adds_, {}));
  }
  if (part_.trains()) finish_gradients(), norm();
}

/// The order of the messages from every other coordinate, and how many of them each action needs.
void Pass::plan_messages() {
  for (int from = 0; from < schedule_.coordinates; ++from) {
    if (from == kind_.stage || !crossings_.any(from, kind_.stage)) continue;
    auto& incoming = incoming_[from];
    std::map<Message, std::size_t> position;
    for (auto const& action : schedule_.actions[static_cast<Index>(from)]) {
      for (int const n : nodes(action)) {
        for (auto const& t : crossings_.leaving(n)) {
          if (t.to != kind_.stage) continue;
          Message const m{t.value, t.form, action.micro_batch};
          position.emplace(m, incoming.order.size());
          incoming.order.push_back(m);
        }
      }
    }
    for (auto const& action : actions()) {
      std::size_t needed = 0;
      for (int const n : nodes(action)) {
        for (std::size_t i = 0; i < part_.graph.node(n).in.size(); ++i) {
          auto const [value, form] = crossings_.arriving(n, i);
          if (value < 0 || crossings_.producer_at(value) != from) continue;
          needed = std::max(needed, position.at({value, form, action.micro_batch}) + 1);
        }
      }
      incoming.needed.push_back(needed);
    }
  }
}

/// Receives of an action are posted one action ahead: in flight while that one computes, and no buffer earlier.
void Pass::post_receives(std::size_t action) {
  for (auto& [from, incoming] : incoming_) {
    for (; incoming.posted < incoming.needed[action]; ++incoming.posted) {
      auto const& m = incoming.order[incoming.posted];
      Step step;
      step.kind = StepKind::recv;
      step.out = {buffer(m.value, m.form, m.micro_batch)};
      step.peer = from < kind_.stage ? 0 : 1;
      step.micro_batch = static_cast<int>(m.micro_batch);
      step.layer = part_.graph.node(part_.graph.value(m.value).producer).layer;
      if (writer_.last_compute() >= 0) step.after = {writer_.last_compute()};
      writer_.communicate(pair_group(from, kind_.stage), std::move(step));
      note_made(m.form, m.micro_batch);
    }
  }
}

/// A send has left before the action after the next begins (Plan::send_lag), so that its buffer is free then.
void Pass::wait_for_sends(std::size_t action) {
  if (plan_.send_lag == 0 || action < plan_.send_lag) return;
  for (int const s : sent_[action - plan_.send_lag]) writer_.wait_for(s);
}

void Pass::send(graph::Node const& node, std::size_t action) {
  for (auto const& t : crossings_.leaving(node.id)) {
    Step step;
    step.kind = StepKind::send;
    step.in = {buffer(t.value, t.form, micro_batch_)};
    step.peer = t.to < kind_.stage ? 0 : 1;
    step.micro_batch = static_cast<int>(micro_batch_);
    step.layer = node.layer;
    // A fused head makes gradients in its forward: their receiver comes to them when this stage would have made them.
    auto const due = t.backward ? own_backward(action) : action;
    sent_[due].push_back(writer_.communicate(pair_group(kind_.stage, t.to), std::move(step)));
  }
}

/// The backward of the micro-batch and stage of an action.
std::size_t Pass::own_backward(std::size_t action) const {
  auto const& list = actions();
  auto const at = std::find_if(list.begin(), list.end(), [&](Action const& a) {
    bool const backward = a.kind == Action::Kind::backward || a.kind == Action::Kind::backward_input;
    return backward && a.micro_batch == list[action].micro_batch && a.stage == list[action].stage;
  });
  return at == list.end() ? action : static_cast<Index>(at - list.begin());
}

int Pass::operand(graph::Node const& node, std::size_t i, std::size_t action) {
  int const value = node.in[i];
  if (part_.graph.value(value).role != Role::parameter) {
    return buffer(value, part_.layouts.operands[static_cast<Index>(node.id)][i], micro_batch_);
  }
  auto const& copy = copies_[static_cast<Index>(node.id)][i];
  auto const& name = copy ? copy->name : part_.graph.value(value).name;
  if (action < whole_.size()) {
    if (auto const at = whole_[action].find(name); at != whole_[action].end()) return at->second;
  }
  return buffers_.find(name, copy ? Role::packed : Role::parameter);
}

Pass::Prototype Pass::make_prototype(graph::Node const& node) const {
  Prototype result;
  auto& step = result.step;
  step.attributes = node.op->attributes();
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    int const form = part_.layouts.operands[static_cast<Index>(node.id)][i];
    result.specs.push_back(plan_.local_spec(part_, node.in[i], form));
    if (auto const& copy = copies_[static_cast<Index>(node.id)][i]; copy && copy->packed) {
      step.attributes.set("packed", std::int64_t{1});
    }
  }
  result.draws = step.attributes.real("p", 0.0) > 0;
  auto const& cut = part_.layouts.cuts[static_cast<Index>(node.id)];
  if (cut.axis >= 0) {
    step.attributes.set("split_axis", plan_.mesh.axes[static_cast<Index>(cut.axis)]);
    step.attributes.set("split_dim", std::int64_t{cut.dim});
    if (step.attributes.real("p", 0.0) == 0) {  // a table of the vocabulary
      bool const grad = node.op->kind() == "embedding_grad";
      auto const& table = part_.graph.value(grad ? node.out[0] : node.in[node.op->kind() == "embedding" ? 0 : 1]);
      step.attributes.set("vocab", table.spec.shape[0]);
    }
  }
  if (!cut.holders.empty()) {
    std::vector<std::string> names;
    for (int const a : cut.holders) names.push_back(plan_.mesh.axes[static_cast<Index>(a)]);
    step.attributes.set("holder", join(names, ","));
  }
  step.layer = node.layer;
  step.stage = part_.stages[static_cast<Index>(node.id)];
  return result;
}

void Pass::write_node(graph::Node const& node, std::size_t action) {
  while (gathered_ < runs_.size() && (runs_[gathered_].action < action ||
                                      (runs_[gathered_].action == action && runs_[gathered_].first_node == node.id))) {
    if (gathered_ == 0) gather(0);
    ++gathered_;
    if (gathered_ < runs_.size()) gather(gathered_);  // one block ahead
  }
  auto const& forms = part_.layouts.operands[static_cast<Index>(node.id)];
  auto& prototype = prototypes_[static_cast<Index>(node.id)];
  if (!prototype) prototype = make_prototype(node);
  pack_fetched(node);
  std::vector<int> in, out;
  in.reserve(node.in.size()), out.reserve(node.out.size() + 1);
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    make_form(node.in[i], forms[i], micro_batch_, node.layer);
    in.push_back(operand(node, i, action));
  }
  for (int const o : node.out) {
    int const state = part_.graph.value(o).accumulates_into;
    bool const gradient = state >= 0 && part_.graph.value(state).role == Role::gradient;
    out.push_back(gradient ? gradient_buffer(state, action) : buffer(o, -1, micro_batch_));
  }
  auto step = prototype->step;
  auto specs = prototype->specs;
  if (late_.where.contains({action, node.id})) {
    for (std::size_t i = 0; i < in.size(); ++i) gather_operand(node, i, in, specs);
    count_norm_of_reduced();
  }
  // Only what the sample's index in the replica decides may differ between micro-batches; nothing is per rank.
  if (prototype->draws) step.attributes.set("sample", micro_batch_ * plan_.config.batch.micro);
  step.micro_batch = part_.trains() ? static_cast<int>(micro_batch_) : -1;
  if (action == 0 && lookups_.nodes.contains(node.id)) {
    look_up(node, std::move(step), std::move(specs), std::move(in), out);
    if (++looked_up_ == lookups_.nodes.size()) fetch_parameters();
  } else {
    writer_.kernel(*node.op, specs, std::move(in), std::move(out), std::move(step));
  }

  for (int const f : completed_[static_cast<Index>(node.id)]) {
    make_form(part_.layouts.forms[static_cast<Index>(f)].value, f, micro_batch_, node.layer);
  }
  for (int const o : node.out) make_form(o, part_.layouts.outputs[static_cast<Index>(o)], micro_batch_, node.layer);
  send(node, action);
  if (part_.trains()) {
    while (next_bucket_ < buckets_.size() && buckets_[next_bucket_].action == static_cast<int>(action) &&
           buckets_[next_bucket_].node == node.id && (plan_.config.parallel.overlap || plan_.zero >= 2)) {
      reduce(buckets_[next_bucket_++]);
    }
  }
}

bool Pass::note_made(int form, std::int64_t m) {
  if (form < 0) return false;
  auto const at = static_cast<Index>(m) * part_.layouts.forms.size() + static_cast<Index>(form);
  if (at >= made_.size()) made_.resize((static_cast<Index>(m) + 1) * part_.layouts.forms.size());
  if (made_[at]) return false;
  return made_[at] = true;
}

/// Makes a form of a value, and those it is made of, unless it exists.
void Pass::make_form(int value, int form, std::int64_t m, std::string const& layer) {
  if (form < 0 || !note_made(form, m)) return;
  auto const& f = part_.layouts.forms[static_cast<Index>(form)];
  make_form(value, f.from, m, layer);
  auto const& axis = plan_.mesh.axes[f.axis];
  auto const have = part_.layouts.at(value, f.from, f.axis), want = f.layout.axes[f.axis];
  int const in = buffer(value, f.from, m);
  int const out = buffer(value, form, m);
  Step step;
  step.layer = layer;
  step.micro_batch = part_.trains() ? static_cast<int>(m) : -1;
  step.in = {in}, step.out = {out};
  if (have.is_partial() && want.split == Split::replicate) {
    if (in != out) writer_.copy(in, out, layer);
    step.kind = StepKind::all_reduce;
    step.in = step.out;
    step.attributes.set("reduce", std::string(have.split == Split::partial_max ? "max" : "sum"));
  } else if (have.is_partial()) {
    step.kind = StepKind::reduce_scatter;
    step.attributes.set("reduce", std::string("sum"));
    if (want.dim > 0) step.attributes.set("dim", std::int64_t{want.dim});
  } else if (want.split == Split::replicate) {
    step.kind = StepKind::all_gather;
    if (have.dim > 0) step.attributes.set("dim", std::int64_t{have.dim});
    if (writer_.last_compute() >= 0) step.after = {writer_.last_compute()};  // no buffer earlier than it is of use
  } else {
    graph::Slice const slice({.dim = want.dim, .parts = plan_.mesh.sizes[f.axis], .axis = axis});
    writer_.kernel(slice, {in}, {out}, layer);
    return;
  }
  writer_.communicate(axis, std::move(step));
}

}  // namespace lamina::plan
