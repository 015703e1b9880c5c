# Compiler settings of our own targets: warnings as errors, sanitizers, ccache, instruction set.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(LAMINA_CCACHE ccache)
if(LAMINA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers need the sloppiness (ccache's manual); with the base, build directories share what they compile.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros
    "CCACHE_BASEDIR=${PROJECT_BINARY_DIR}" "${LAMINA_CCACHE}")
endif()

# What every target of ours is compiled with. Other people's headers come in as SYSTEM and stay silent.
add_library(lamina_options INTERFACE)
target_compile_features(lamina_options INTERFACE cxx_std_20)
target_compile_options(lamina_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
  -Werror=missing-field-initializers -fno-math-errno)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports overlapping copies inside its own std::string where there are none (GCC bug 105651).
  target_compile_options(lamina_options INTERFACE -Wno-restrict)
endif()
# What the time limits of tests are multiplied by.
set(LAMINA_TIME_FACTOR 1)
if(LAMINA_SANITIZE)
  set(LAMINA_TIME_FACTOR 6)
  # g++'s manual: sanitizers increase the false positives of this warning.
  target_compile_options(lamina_options INTERFACE -Wno-maybe-uninitialized)
endif()
if(LAMINA_SANITIZE STREQUAL "address")
  target_compile_options(lamina_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)
  target_link_options(lamina_options INTERFACE -fsanitize=address,undefined)
  target_sources(lamina_options INTERFACE
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${CMAKE_CURRENT_LIST_DIR}/sanitizer_defaults.cpp>)
elseif(LAMINA_SANITIZE STREQUAL "thread")
  target_compile_options(lamina_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(lamina_options INTERFACE -fsanitize=thread)
elseif(NOT LAMINA_SANITIZE STREQUAL "")
  message(FATAL_ERROR "LAMINA_SANITIZE is '${LAMINA_SANITIZE}'; it can be address, thread or empty")
endif()

# The describing half must give the same plan on every machine of a run: no fused multiply-add, no
# instruction set beyond the platform's baseline.
add_library(lamina_describing INTERFACE)
target_compile_options(lamina_describing INTERFACE -ffp-contract=off)

# The doing half uses what the CPU has.
add_library(lamina_doing INTERFACE)
target_compile_options(lamina_doing INTERFACE -march=${LAMINA_ARCH})
