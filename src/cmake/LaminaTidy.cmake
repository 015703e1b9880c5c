# LAMINA_TIDY: clang-tidy reads every file of ours before it is compiled; what it finds is an error (.clang-tidy).
option(LAMINA_TIDY "Read every file of ours with clang-tidy" OFF)
if(NOT LAMINA_TIDY)
  return()
endif()

# 19 is what .clang-tidy was written for. Below 16 it cannot read std::source_location of the GNU library.
find_program(LAMINA_CLANG_TIDY NAMES clang-tidy-19 clang-tidy-20 clang-tidy-21 clang-tidy-22 clang-tidy-18 clang-tidy-17
  clang-tidy-16 clang-tidy)
set(lamina_tidy_version 0)
if(LAMINA_CLANG_TIDY)
  execute_process(COMMAND "${LAMINA_CLANG_TIDY}" --version OUTPUT_VARIABLE lamina_tidy_text)
  if(lamina_tidy_text MATCHES "version ([0-9]+)")
    set(lamina_tidy_version ${CMAKE_MATCH_1})
  endif()
endif()
if(lamina_tidy_version LESS 16)
  message(FATAL_ERROR "clang-tidy >= 16 was not found (the newest found: '${LAMINA_CLANG_TIDY}', version "
    "${lamina_tidy_version}): apt-get install clang-tidy-19 libomp-19-dev, or set LAMINA_CLANG_TIDY to its path")
endif()
# Warnings are g++'s business (-w): clang knows others, and not all of g++'s by name.
set(CMAKE_CXX_CLANG_TIDY "${LAMINA_CLANG_TIDY};--quiet;--extra-arg=-w")
