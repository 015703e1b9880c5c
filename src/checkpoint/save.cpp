#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "checkpoint/detail/directory.hpp"
#include "checkpoint/detail/inventory.hpp"
#include "checkpoint/detail/manifest.hpp"
#include "checkpoint/detail/piece.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/io/agree.hpp"
#include "lamina/io/array_file.hpp"

namespace lamina::checkpoint {
namespace {

using detail::Manifest;

constexpr char site[] = "checkpoint";

/// Checksum of what this rank owns of one tensor; travels as bytes.
struct Part {
  std::int64_t tensor = 0, cells = 0;
  Hash128 sum;
};
static_assert(std::is_trivially_copyable_v<Part>);

/// A piece this rank writes.
struct Task {
  Piece const* piece;
  std::size_t tensor;  // index into the manifest
  io::PartialChecksum sum;
};

/// ".tmp-step-<n>-<job or process>.<restart>"
std::string temporary_name(std::int64_t step) {
  char const* job = std::getenv("SLURM_JOB_ID");
  char const* restart = std::getenv("SLURM_RESTART_COUNT");
  auto const who = job != nullptr && *job != '\0' ? std::string(job) : text(::getpid());
  return text(".tmp-step-", step, "-", who, ".", restart != nullptr && *restart != '\0' ? restart : "0");
}

void require_space(std::string const& directory, std::vector<detail::TensorEntry> const& tensors) {
  std::int64_t needed = 1 << 20;  // HDF5's own bytes and the manifest
  for (auto const& t : tensors) needed += t.spec.bytes();
  auto const free = io::free_bytes(directory);
  if (free >= needed) return;
  fail({.code = "checkpoint.save.no_space",
        .subject = directory,
        .found = text("needs ", needed, " bytes (", human_bytes(needed), "), ", free, " bytes free (",
                      human_bytes(free), ")"),
        .expected = "room for a whole checkpoint beside the ones that are kept",
        .fix = "free some space, lower checkpoint.keep, or put run.dir on another file system"});
}

/// One save on this rank. Functions named root_* run on rank 0 only.
class Save {
 public:
  Save(std::string const& run_dir, State const& state, std::vector<Piece> const& pieces, Options const& options,
       comm::Communicator const& world)
      : pieces_(pieces), options_(options), world_(world), root_(world.rank() == 0) {
    manifest_.state = state;
    run_dir_ = run_dir.empty() ? "." : run_dir;
    parent_ = detail::checkpoints_of(run_dir_);
    temporary_ = text(parent_, "/", temporary_name(state.step));
    final_ = text(parent_, "/", detail::directory_name(state.step));
  }

  SaveReport run() {
    auto const begin = std::chrono::steady_clock::now();
    io::agree(world_, [&] { check(); });
    auto const packed = world_.gather_bytes(detail::pack_owned(pieces_), 0);
    io::agree(world_, [&] {
      if (root_) root_create(packed);
    });
    learn_layout();
    io::agree(world_, [&] { write(); });
    io::agree(world_, [&] { hash_cut_cells(); });
    auto const parts = world_.gather_bytes(pack_parts(), 0);
    io::agree(world_, [&] {
      if (root_) root_commit(parts);
    });
    SaveReport report{.directory = final_, .bytes = detail::total_bytes(manifest_), .seconds = 0, .warnings = {}};
    if (root_) root_tidy(report.warnings);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
  }

  /// Leaves nothing of a failed attempt.
  void clean_up() noexcept {
    if (root_) io::remove_tree_quietly(temporary_);
  }

 private:
  void check() const {
    auto const step = manifest_.state.step;
    if (step < 0 || step > detail::largest_step) {
      fail({.code = "checkpoint.save.step",
            .subject = final_,
            .found = text("step ", step),
            .expected = text("a step from 0 to ", detail::largest_step),
            .fix = "shorten the run"});
    }
    detail::require_sound(pieces_);
  }

  void root_create(std::vector<std::string> const& packed) {
    manifest_.tensors = detail::merge_owned(packed);
    detail::assign_files(manifest_.tensors, options_.files);
    if (!std::filesystem::exists(parent_)) {
      io::make_directories(parent_);
      io::sync_directory(run_dir_, "checkpoint.parent");
    }
    detail::remove_leftovers(parent_);
    require_space(parent_, manifest_.tensors);
    io::make_directories(temporary_);
    int files = 0;
    for (auto const& t : manifest_.tensors) files = std::max(files, t.file + 1);
    for (int f = 0; f < files; ++f) {
      auto const name = text("tensors-", f, ".h5");
      auto const made = io::create_array_file(text(temporary_, "/", name), detail::arrays_of(manifest_, f), site);
      manifest_.files.push_back({.name = name, .bytes = made.bytes, .metadata = made.metadata});
      auto place = made.arrays.begin();
      for (auto& t : manifest_.tensors) {
        if (t.file == f) t.offset = (place++)->offset;
      }
    }
    text_ = detail::print(manifest_);
  }

  /// Every rank gets the directory and the manifest without checksums.
  void learn_layout() {
    auto message = root_ ? text(temporary_, '\0', text_) : std::string();
    world_.broadcast_bytes(message, 0);
    if (root_) return;
    auto const end = message.find('\0');
    temporary_ = message.substr(0, end);
    manifest_ = detail::parse_manifest(message.substr(end + 1), "the layout from rank 0");
  }

  void write() {
    for (auto const& piece : pieces_) {
      if (!piece.owner) continue;
      auto const i = detail::find_tensor(manifest_, piece.name, piece.role);
      auto const at = static_cast<std::size_t>(i);
      tasks_.push_back({.piece = &piece, .tensor = at, .sum = io::PartialChecksum(manifest_.tensors[at].spec)});
    }
    for_each_file(io::Mode::update, [](Task& task, io::File const& file, io::Array const& array) {
      io::write_boxes(file, array, detail::boxes_of(*task.piece), task.piece->memory, task.sum);
    });
  }

  void hash_cut_cells() {
    for_each_file(io::Mode::read, [](Task& task, io::File const& file, io::Array const& array) {
      task.sum.add_cut_cells(file, array.offset);
    });
  }

  /// Opens each file that this rank has tasks in once; syncs it when it was opened for writing.
  template <class Work>
  void for_each_file(io::Mode mode, Work const& work) {
    for (std::size_t f = 0; f < manifest_.files.size(); ++f) {
      std::optional<io::File> file;
      for (auto& task : tasks_) {
        auto const& tensor = manifest_.tensors[task.tensor];
        if (tensor.file != static_cast<int>(f)) continue;
        if (!file) file = io::File::open(text(temporary_, "/", manifest_.files[f].name), mode, site);
        work(task, *file, detail::array_of(tensor));
      }
      if (file && mode == io::Mode::update) file->sync();
    }
  }

  std::string pack_parts() const {
    std::string bytes;
    for (auto const& task : tasks_) {
      Part const part{
          .tensor = static_cast<std::int64_t>(task.tensor), .cells = task.sum.cells(), .sum = task.sum.sum()};
      bytes.append(reinterpret_cast<char const*>(&part), sizeof part);
    }
    return bytes;
  }

  void root_commit(std::vector<std::string> const& packed) {
    std::vector<std::int64_t> cells(manifest_.tensors.size(), 0);
    for (auto const& bytes : packed) {
      for (std::size_t at = 0; at < bytes.size(); at += sizeof(Part)) {
        Part part;
        std::memcpy(&part, bytes.data() + at, sizeof part);
        auto const i = static_cast<std::size_t>(part.tensor);
        manifest_.tensors[i].checksum += part.sum;
        cells[i] += part.cells;
      }
    }
    for (std::size_t i = 0; i < cells.size(); ++i) require_all_cells(manifest_.tensors[i], cells[i]);
    io::write_text_atomically(text(temporary_, "/", detail::manifest_name), detail::print(manifest_),
                              "checkpoint.manifest");
    root_rename();
  }

  static void require_all_cells(detail::TensorEntry const& t, std::int64_t cells) {
    auto const wanted = io::PartialChecksum(t.spec).total_cells();
    if (cells == wanted) return;
    fail({.code = "checkpoint.save.cells",
          .subject = detail::label_of(t),
          .found = text(cells, " checksum cells from all ranks"),
          .expected = text(wanted),
          .fix = "report this as a bug: owners cover the tensor but its cells do not add up"});
  }

  /// The commit. A checkpoint of the same step is exchanged for the new one and then removed.
  void root_rename() {
    bool const replaces = std::filesystem::exists(final_);
    if (replaces) {
      io::exchange(temporary_, final_, "checkpoint.commit");
    } else {
      io::rename(temporary_, final_, "checkpoint.commit");
    }
    try {
      io::sync_directory(parent_, "checkpoint.commit");
    } catch (...) {  // not durable: take it back, so that the failure is whole
      if (replaces) {
        io::exchange(temporary_, final_, "checkpoint.undo");
      } else {
        io::rename(final_, temporary_, "checkpoint.undo");
      }
      throw;
    }
    if (replaces) io::remove_tree_quietly(temporary_);
  }

  /// After the commit nothing may fail the save any more.
  void root_tidy(std::vector<std::string>& warnings) {
    try {
      io::write_text_atomically(parent_ + "/latest", detail::directory_name(manifest_.state.step) + "\n",
                                "checkpoint.latest");
    } catch (Error const& e) {
      warnings.push_back(detail::one_line(e.info()));
    }
    try {
      detail::prune(parent_, manifest_.state.step, options_);
    } catch (Error const& e) {
      warnings.push_back(detail::one_line(e.info()));
    }
  }

  std::vector<Piece> const& pieces_;
  Options const& options_;
  comm::Communicator const& world_;
  bool root_;
  Manifest manifest_;
  std::string run_dir_, parent_, temporary_, final_, text_;
  std::vector<Task> tasks_;
};

/// Errors of the layers below under the code of what failed: a save.
ErrorInfo as_save_error(ErrorInfo e) {
  if (e.code.starts_with("checkpoint.save.") || e.code.starts_with("comm.")) return e;
  if (e.code == "io.file.no_space") {
    e.code = "checkpoint.save.no_space";
  } else {
    e.found = text(e.found, " [", e.code, "]");
    e.code = "checkpoint.save.failed";
  }
  return e;
}

}  // namespace

SaveReport save(std::string const& run_dir, State const& state, std::vector<Piece> const& pieces,
                Options const& options, comm::Communicator world) {
  Save save(run_dir, state, pieces, options, world);
  try {
    return save.run();
  } catch (Error const& e) {
    save.clean_up();
    fail(as_save_error(e.info()));
  }
}

}  // namespace lamina::checkpoint
