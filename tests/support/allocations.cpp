#include "support/allocations.hpp"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "lamina/base/text.hpp"
#include "vendor/mpi/mpi.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LAMINA_OWN_MALLOC 0
#else
#define LAMINA_OWN_MALLOC 1
#endif

namespace lamina::test {
namespace {

struct Range {
  std::uintptr_t begin, end;
};

std::atomic<bool> counting{false};
std::atomic<std::int64_t> counted{0};
std::array<std::atomic<void const*>, 16> callers;
std::array<Range, 256> theirs;  // code of the libraries that are excepted
std::size_t their_count = 0;

/// Open MPI, MPICH and what they stand on, which have threads of their own beside the calls that we make; and oneDNN,
/// which makes argument tables in every execution of a primitive.
bool is_excepted(std::string_view path) {
  auto const name = path.substr(path.rfind('/') + 1);
  for (std::string_view prefix : {"libmpi", "libopen-", "libpmix", "libevent", "libhwloc", "mca_", "libmpich", "libucp",
                                  "libucs", "libuct", "libfabric", "libpsm", "libdnnl"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

int note_library(dl_phdr_info* info, std::size_t, void*) {
  if (!is_excepted(info->dlpi_name)) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    auto const& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || !(part.p_flags & PF_X) || their_count == theirs.size()) continue;
    auto const begin = info->dlpi_addr + part.p_vaddr;
    theirs[their_count++] = {begin, begin + part.p_memsz};
  }
  return 0;
}

#if LAMINA_OWN_MALLOC
void note(void const* caller) {
  if (!counting.load(std::memory_order_relaxed) || mpi::inside_call()) return;
  auto const at = reinterpret_cast<std::uintptr_t>(caller);
  auto const inside = [at](Range const& r) { return r.begin <= at && at < r.end; };
  if (std::any_of(theirs.begin(), theirs.begin() + static_cast<std::ptrdiff_t>(their_count), inside)) return;
  auto const index = counted.fetch_add(1);
  if (index < std::ssize(callers)) callers[static_cast<std::size_t>(index)].store(caller);
}
#endif

}  // namespace

Allocations::Allocations() {
  their_count = 0;
  dl_iterate_phdr(note_library, nullptr);
  counted = 0;
  counting = true;
}

Allocations::~Allocations() { counting = false; }
std::int64_t Allocations::count() const { return counted; }
bool counts_allocations() { return LAMINA_OWN_MALLOC; }

std::string Allocations::places() const {
  counting = false;
  std::string out;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(counted, std::ssize(callers)); ++i) {
    auto const* const caller = callers[static_cast<std::size_t>(i)].load();
    Dl_info info{};
    dladdr(caller, &info);
    char offset[20] = {};
    std::snprintf(offset, sizeof offset, "%zx",
                  reinterpret_cast<std::uintptr_t>(caller) - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
    out += text(info.dli_fname ? info.dli_fname : "?", "+0x", offset, ' ', info.dli_sname ? info.dli_sname : "", '\n');
  }
  return out;
}

}  // namespace lamina::test

#if LAMINA_OWN_MALLOC
// The GNU C library's documented way to replace malloc: the whole family, on top of its own implementation.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t bytes) noexcept {
  lamina::test::note(__builtin_return_address(0));
  return __libc_malloc(bytes);
}
void* calloc(std::size_t n, std::size_t bytes) noexcept {
  lamina::test::note(__builtin_return_address(0));
  return __libc_calloc(n, bytes);
}
void* realloc(void* p, std::size_t bytes) noexcept {
  lamina::test::note(__builtin_return_address(0));
  return __libc_realloc(p, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  lamina::test::note(__builtin_return_address(0));
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  lamina::test::note(__builtin_return_address(0));
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t bytes) noexcept {
  lamina::test::note(__builtin_return_address(0));
  *p = __libc_memalign(alignment, bytes);
  return *p ? 0 : ENOMEM;
}
void free(void* p) noexcept { __libc_free(p); }
}

namespace {

void* or_throw(void* p) {
  if (!p) throw std::bad_alloc();
  return p;
}

}  // namespace

// The C++ ones too, or all they allocate would come from libstdc++. Its `operator delete` calls `free`.
void* operator new(std::size_t bytes) {
  lamina::test::note(__builtin_return_address(0));
  return or_throw(__libc_malloc(bytes));
}
void* operator new[](std::size_t bytes) {
  lamina::test::note(__builtin_return_address(0));
  return or_throw(__libc_malloc(bytes));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  lamina::test::note(__builtin_return_address(0));
  return or_throw(__libc_memalign(static_cast<std::size_t>(alignment), bytes));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  lamina::test::note(__builtin_return_address(0));
  return or_throw(__libc_memalign(static_cast<std::size_t>(alignment), bytes));
}
#endif
