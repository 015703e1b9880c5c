# Precompiled headers of the standard library and GoogleTest, one for each set of flags: a third less to compile. Files
# still include what they use: clang-tidy, the sanitizers' builds and the test of headers compiled alone go without.
set(lamina_precompiled ON)
if(LAMINA_TIDY OR LAMINA_SANITIZE)
  set(lamina_precompiled OFF)
endif()
option(LAMINA_PRECOMPILED "Precompiled headers" ${lamina_precompiled})

set(LAMINA_STANDARD_HEADERS <algorithm> <cstdint> <functional> <map> <memory> <numeric> <optional> <set>
  <span> <sstream> <string> <string_view> <tuple> <unordered_map> <utility> <variant> <vector>)

# lamina_make_precompiled(holder headers...): the target that holds them has the flags of those that use them.
function(lamina_make_precompiled holder)
  if(LAMINA_PRECOMPILED)
    target_precompile_headers(${holder} PRIVATE ${ARGN})
    target_compile_options(${holder} PRIVATE -fpch-preprocess)
  endif()
endfunction()

function(lamina_use_precompiled target holder)
  if(LAMINA_PRECOMPILED)
    target_precompile_headers(${target} REUSE_FROM ${holder})
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()
