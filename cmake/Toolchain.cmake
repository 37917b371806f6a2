# Compiler, linker and sanitizer settings, the same for every room.
option(VIREO_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
option(VIREO_LOCK_CHECKS "Check the order in which ranked locks are taken" OFF)
set(VIREO_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# -Wno-missing-field-initializers: designated initializers name what differs from the default.
add_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers -fno-strict-aliasing -ffunction-sections)
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wconversion>
                    $<$<COMPILE_LANGUAGE:CXX>:-Wshadow>
                    $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>)
# Engine code reads flags with pushfq and runs guest code on its own stack: no red zone below rsp.
add_compile_options(-mno-red-zone -fno-omit-frame-pointer)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
if(VIREO_LOCK_CHECKS)
  add_compile_definitions(VIREO_LOCK_CHECKS)
endif()
if(VIREO_SANITIZE MATCHES "thread")
  add_compile_options(-Wno-tsan)  # it knows no fences: each pairs with atomics, which it does see
endif()
if(VIREO_SANITIZE)
  add_compile_options(-fsanitize=${VIREO_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${VIREO_SANITIZE})
endif()
if(VIREO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address)
  add_compile_options(-Wno-deprecated-declarations)  # libstdc++ 12's stable_sort, as clang sees it
  add_link_options(-fsanitize=address)
endif()
