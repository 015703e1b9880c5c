#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "checkpoint/detail/directory.hpp"
#include "checkpoint/detail/piece.hpp"
#include "checkpoint/detail/read.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/io/agree.hpp"

namespace lamina::checkpoint {
namespace {

using detail::Candidate;
using detail::Manifest;

/// What a rank knows about the checksum of a tensor that it holds a part of; travels as bytes.
struct Part {
  std::int64_t tensor = 0, cells = 0, owner = 0;
  std::uint64_t boxes = 0;  // hash of the boxes: replicas must have read the same
  Hash128 sum;
};
static_assert(std::is_trivially_copyable_v<Part>);

std::uint64_t hash_of(std::vector<io::Box> const& boxes) {
  std::string s;
  for (auto const& box : boxes) s += text(box.offset, box.extent);
  return hash64(s);
}

/// Every piece must be there in the shape and type asked for: this is no damage, another checkpoint would not help.
void require_tensors(Manifest const& m, std::string const& directory, std::vector<Piece> const& pieces) {
  for (auto const& p : pieces) {
    auto const i = detail::find_tensor(m, p.name, p.role);
    auto const label = detail::dataset_path(p.role, p.name).substr(1);
    if (i < 0) {
      fail({.code = "checkpoint.load.missing",
            .subject = text(directory, ": ", label),
            .found = "no such tensor in the checkpoint",
            .expected = "every tensor of the model",
            .fix = "resume with the model and optimizer of the run that wrote it"});
    }
    auto const& spec = m.tensors[static_cast<std::size_t>(i)].spec;
    TensorSpec const wanted{.dtype = p.memory.spec.dtype, .shape = p.global_shape};
    if (spec == wanted) continue;
    fail({.code = spec.shape == wanted.shape ? "checkpoint.load.dtype" : "checkpoint.load.shape",
          .subject = text(directory, ": ", label),
          .found = text(spec, " in the checkpoint"),
          .expected = text(wanted, " in this run"),
          .fix = "resume with the sizes of the run that wrote it: lamina checkpoint ls shows them"});
  }
}

/// Reads one checkpoint on all ranks.
class Reading {
 public:
  Reading(Manifest const& m, std::string const& directory, std::vector<Piece> const& pieces,
          comm::Communicator const& world)
      : manifest_(m), directory_(directory), pieces_(pieces), world_(world) {}

  /// Throws on every rank when a file is damaged for any.
  void run() {
    io::agree(world_, [&] { read(); });
    auto const gathered = world_.all_gather_bytes(parts_);
    io::agree(world_, [&] { judge(gathered); });
  }

 private:
  void read() {
    for (std::size_t f = 0; f < manifest_.files.size(); ++f) {
      std::optional<io::File> file;
      for (auto const& p : pieces_) {
        auto const i = static_cast<std::size_t>(detail::find_tensor(manifest_, p.name, p.role));
        auto const& tensor = manifest_.tensors[i];
        if (tensor.file != static_cast<int>(f)) continue;
        if (!file) {
          detail::require_file_size(directory_, manifest_.files[f]);
          file = detail::open_file(directory_, manifest_.files[f]);
        }
        read_piece(*file, p, i);
      }
    }
  }

  void read_piece(io::File const& file, Piece const& p, std::size_t i) {
    auto const& tensor = manifest_.tensors[i];
    auto const boxes = detail::boxes_of(p);
    io::PartialChecksum sum(tensor.spec);
    io::read_boxes(file, detail::array_of(tensor), boxes, p.memory, sum);
    sum.add_cut_cells(file, tensor.offset);
    if (detail::is_whole(p)) return detail::require_checksum(manifest_, directory_, i, sum.sum());
    Part const part{.tensor = static_cast<std::int64_t>(i),
                    .cells = sum.cells(),
                    .owner = p.owner ? 1 : 0,
                    .boxes = hash_of(boxes),
                    .sum = sum.sum()};
    parts_.append(reinterpret_cast<char const*>(&part), sizeof part);
  }

  /// Adds the owners' parts of each tensor that nobody has whole. Where they do not make up the tensor (a run that
  /// loads only some of it), one rank reads it once more.
  void judge(std::vector<std::string> const& gathered) const {
    std::map<std::size_t, Part> sums;
    std::map<std::pair<std::size_t, std::uint64_t>, Part> replicas;
    for (auto const& bytes : gathered) {
      for (std::size_t at = 0; at < bytes.size(); at += sizeof(Part)) {
        Part part;
        std::memcpy(&part, bytes.data() + at, sizeof part);
        auto const i = static_cast<std::size_t>(part.tensor);
        auto const& first = replicas.try_emplace({i, part.boxes}, part).first->second;
        if (first.sum != part.sum) detail::refuse_checksum(manifest_, directory_, i, "two ranks read different bytes");
        auto& sum = sums.try_emplace(i, Part{}).first->second;
        if (part.owner != 0) sum.sum += part.sum, sum.cells += part.cells;
      }
    }
    int turn = 0;
    for (auto const& [i, sum] : sums) {
      auto const complete = sum.cells == io::PartialChecksum(manifest_.tensors[i].spec).total_cells();
      if (complete) {
        detail::require_checksum(manifest_, directory_, i, sum.sum);
      } else if (turn++ % world_.size() == world_.rank()) {
        detail::require_checksum(manifest_, directory_, i, detail::checksum_on_disk(manifest_, directory_, i));
      }
    }
  }

  Manifest const& manifest_;
  std::string const& directory_;
  std::vector<Piece> const& pieces_;
  comm::Communicator const& world_;
  std::string parts_;
};

struct Choice {
  std::string directory, manifest;  // empty directory: none left
  std::vector<std::string> skipped;
};

std::string pack(Choice const& c) {
  auto bytes = text(c.directory, '\0', c.skipped.size(), '\0');
  for (auto const& s : c.skipped) bytes += s + '\0';
  return bytes + c.manifest;
}

Choice unpack(std::string const& bytes) {
  std::size_t at = 0;
  auto const next = [&] {
    auto const end = bytes.find('\0', at);
    return bytes.substr(std::exchange(at, end + 1), end - at);
  };
  Choice c;
  c.directory = next();
  for (auto n = std::stoll(next()); n > 0; --n) c.skipped.push_back(next());
  c.manifest = bytes.substr(at);
  return c;
}

/// Whether another checkpoint may do better than the one that failed so.
bool is_damage(std::string const& code) {
  return code.starts_with("io.") || code.starts_with("checkpoint.load.") || code.starts_with("checkpoint.manifest.");
}

std::string name_of_directory(std::string const& directory) {
  auto const at = directory.find_last_of('/');
  return at == std::string::npos ? directory : directory.substr(at + 1);
}

/// Takes the newest complete candidate off the list; notes those that are not.
Choice choose(std::vector<Candidate>& candidates) {
  Choice c;
  for (; !candidates.empty(); candidates.pop_back()) {
    auto const& candidate = candidates.back();
    try {
      c.manifest = detail::print(detail::read_complete(candidate));
      c.directory = candidate.directory;
      candidates.pop_back();
      return c;
    } catch (Error const& e) {
      if (!is_damage(e.info().code)) throw;
      c.skipped.push_back(text(name_of_directory(candidate.directory), ": ", detail::one_line(e.info())));
    }
  }
  return c;
}

std::vector<Candidate> candidates_of(std::string const& path, std::int64_t step) {
  auto candidates = detail::find_candidates(path);
  if (step >= 0) std::erase_if(candidates, [&](Candidate const& c) { return c.step != step; });
  return candidates;
}

[[noreturn]] void refuse_all(std::string const& run_dir, std::int64_t step, std::vector<std::string> const& skipped) {
  if (skipped.empty()) {
    fail({.code = "checkpoint.load.step",
          .subject = run_dir,
          .found = text("no checkpoint of step ", step),
          .expected = "a step that was saved and kept",
          .fix = "lamina checkpoint ls lists them"});
  }
  fail({.code = "checkpoint.load.none_valid",
        .subject = run_dir,
        .found = text("no valid checkpoint:\n    ", join(skipped, "\n    ")),
        .expected = "at least one that is complete and has the right checksums",
        .fix = "restore one from a copy, or start anew with --fresh (it moves this directory aside)"});
}

}  // namespace

Found load(std::string const& run_dir, std::int64_t step, std::vector<Piece> const& pieces, comm::Communicator world) {
  bool const root = world.rank() == 0;
  std::vector<Candidate> candidates;
  Found found;
  while (true) {
    Choice choice;
    io::agree(world, [&] {
      if (root && found.skipped.empty()) candidates = candidates_of(run_dir, step);
      if (root) choice = choose(candidates);
    });
    auto message = root ? pack(choice) : std::string();
    world.broadcast_bytes(message, 0);
    choice = unpack(message);
    found.skipped.insert(found.skipped.end(), choice.skipped.begin(), choice.skipped.end());
    if (choice.directory.empty()) {
      if (!found.skipped.empty() || step >= 0) refuse_all(run_dir, step, found.skipped);
      return found;
    }
    auto const manifest = detail::parse_manifest(choice.manifest, choice.directory);
    io::agree(world, [&] { require_tensors(manifest, choice.directory, pieces); });
    try {
      Reading(manifest, choice.directory, pieces, world).run();
    } catch (Error const& e) {
      if (!is_damage(e.info().code)) throw;
      found.skipped.push_back(text(name_of_directory(choice.directory), ": ", detail::one_line(e.info())));
      continue;
    }
    found.any = true;
    found.state = manifest.state;
    found.directory = choice.directory;
    return found;
  }
}

Found peek(std::string const& run_dir, std::int64_t step) {
  auto candidates = candidates_of(run_dir, step);
  auto const choice = choose(candidates);
  Found found{.any = !choice.directory.empty(), .state = {}, .directory = choice.directory, .skipped = choice.skipped};
  if (found.any) found.state = detail::parse_manifest(choice.manifest, choice.directory).state;
  return found;
}

}  // namespace lamina::checkpoint
