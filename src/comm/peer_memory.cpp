#include "detail/peer_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/device/huge_pages.hpp"

namespace lamina::comm::detail {
namespace {

using device::huge_page;

/// What neighbours read of each other to see whether they can, and whether it is the right process.
std::int64_t volatile word_of_this_process = 0;

constexpr std::int64_t word_of(std::int64_t process, int rank) {
  return (process << 32) ^ (std::int64_t{rank} << 8) ^ 0x4c61;
}

bool is_allowed() {
  char const* const wanted = std::getenv("LAMINA_READ_PEERS");
  return wanted == nullptr || std::string_view(wanted) != "0";
}

bool can_read(std::int64_t process, std::int64_t address, std::int64_t expected) {
  std::int64_t found = 0;
  iovec const here{&found, sizeof found}, there{reinterpret_cast<void*>(address), sizeof found};
  auto const got = process_vm_readv(static_cast<pid_t>(process), &here, 1, &there, 1, 0);
  return got == static_cast<ssize_t>(sizeof found) && found == expected;
}

}  // namespace

bool Neighbours::all() const { return !processes.empty() && std::ranges::find(processes, 0) == processes.end(); }

Neighbours Neighbours::of(std::span<int const> members) const {
  Neighbours group;
  for (int const r : members) group.processes.push_back(processes[static_cast<std::size_t>(r)]);
  return group;
}

Neighbours find_neighbours(mpi::Comm const& world) {
  bool reads = is_allowed();
  // Yama (ptrace_scope = 1, what many systems have) lets only ancestors read, unless told so: before anyone tries.
  if (reads) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  std::int64_t const own = getpid();
  word_of_this_process = word_of(own, world.rank());
  auto const processes = world.all_gather(own);
  auto const words = world.all_gather(reinterpret_cast<std::int64_t>(&word_of_this_process));
  auto const node = world.node_members();
  for (int const r : node) {
    auto const at = static_cast<std::size_t>(r);
    reads = reads && (r == world.rank() || can_read(processes[at], words[at], word_of(processes[at], r)));
  }
  auto const all_read = world.all_gather(reads ? 1 : 0);
  Neighbours near;
  near.processes.resize(processes.size());
  if (std::ranges::any_of(node, [&](int r) { return all_read[static_cast<std::size_t>(r)] == 0; })) return near;
  for (int const r : node) near.processes[static_cast<std::size_t>(r)] = processes[static_cast<std::size_t>(r)];
  return near;
}

std::shared_ptr<PeerBlock> PeerBlock::open(std::int64_t process, device::SharedBlock const& block) {
  rlimit space = {};  // a limited address space is planned for this rank's own memory
  if (getrlimit(RLIMIT_AS, &space) != 0 || space.rlim_cur != RLIM_INFINITY) return {};
  auto const path = text("/proc/", process, "/fd/", block.file);
  int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  struct stat about = {};
  bool const same = fstat(file, &about) == 0 && about.st_ino == block.inode && about.st_size >= block.bytes;
  auto const size = static_cast<std::size_t>(block.bytes);
  char* const room = same ? device::reserve_huge_pages(block.bytes) : nullptr;
  bool const mapped = room && mmap(room, size, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) == room;
  if (room && !mapped) munmap(room, size);
  close(file);
  if (!mapped) return {};
  return std::shared_ptr<PeerBlock>(new PeerBlock(block, room));
}

PeerBlock::~PeerBlock() { munmap(data_, static_cast<std::size_t>(block_.bytes)); }

std::span<char const> PeerBlock::read(std::uint64_t address, std::int64_t bytes) {
  auto const at = static_cast<std::int64_t>(address - block_.base);
  if (address < block_.base || at + bytes > block_.bytes) {
    fail({.code = "comm.peer_memory.length",
          .subject = "address that a peer offered",
          .found = text(bytes, " bytes at ", at, " of its arena"),
          .expected = text("a part of its ", block_.bytes, " bytes"),
          .fix =
              "the ranks run different programs or collectives: compare their plans (`lamina plan --print program`)"});
  }
  auto const page = at / huge_page;
  if (page != page_) forget();
  page_ = page;
  return {data_ + at, static_cast<std::size_t>(std::min(bytes, (page + 1) * huge_page - at))};
}

void PeerBlock::forget() {
  if (page_ >= 0) madvise(data_ + page_ * huge_page, huge_page, MADV_DONTNEED);
  page_ = -1;
}

void copy_streaming(char* to, char const* from, std::int64_t bytes) {
#ifdef __AVX512F__
  constexpr std::int64_t line = 64;
  auto const head =
      std::min(bytes, (line - static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % line)) % line);
  std::memcpy(to, from, static_cast<std::size_t>(head));
  auto at = head;
  for (; at + line <= bytes; at += line) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + at), _mm512_loadu_si512(from + at));
  }
  _mm_sfence();  // before anyone is told
  std::memcpy(to + at, from + at, static_cast<std::size_t>(bytes - at));
#else
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
#endif
}

bool read_peer(std::int64_t process, std::span<RemoteRun const> runs) {
  std::array<iovec, 64> here, there;
  while (!runs.empty()) {
    auto const n = std::min(runs.size(), here.size());
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < n; ++i) {
      auto const length = static_cast<std::size_t>(runs[i].bytes);
      here[i] = {runs[i].to, length}, there[i] = {reinterpret_cast<void*>(runs[i].from), length};
      bytes += runs[i].bytes;
    }
    auto const got = process_vm_readv(static_cast<pid_t>(process), here.data(), n, there.data(), n, 0);
    if (got >= 0 && got < bytes) return false;  // the rest is not mapped any more
    if (got < 0 && (errno == ESRCH || errno == EFAULT)) return false;
    if (got < 0) {
      fail({.code = "comm.peer_memory.read",
            .subject = text("process ", process, " of this node"),
            .found = std::strerror(errno),
            .expected = "its memory can be read, as when the run started",
            .fix = "set LAMINA_READ_PEERS=0: then the ranks send messages"});
    }
    runs = runs.subspan(n);
  }
  return true;
}

}  // namespace lamina::comm::detail
