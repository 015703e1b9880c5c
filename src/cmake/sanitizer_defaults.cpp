// What every program of ours carries under AddressSanitizer (LaminaCompiler.cmake adds it), so that a report is a
// finding. Open MPI leaks by design; it also unloads its components, after which suppressions by library would find no
// name. The user's ASAN_OPTIONS, UBSAN_OPTIONS and LSAN_OPTIONS come on top.
extern "C" {
int dlclose(void*) { return 0; }

char const* __asan_default_options() {
  // A library without frame pointers ends the fast unwinder's walk before it meets the name to suppress.
  return "fast_unwind_on_malloc=0:detect_stack_use_after_return=1";
}

char const* __ubsan_default_options() { return "print_stacktrace=1"; }

char const* __lsan_default_suppressions() {
  return "leak:libmpi\nleak:libopen-pal\nleak:libopen-rte\nleak:libpmix\nleak:libhwloc\nleak:libevent\nleak:mca_\nleak:libgomp\n";
}

// The walk over thread-local storage faults ("Tracer caught signal 11") in some programs that have started Open MPI.
// Without it what only libgomp's threads know looks lost.
char const* __lsan_default_options() { return "print_suppressions=0:use_tls=0"; }
}
