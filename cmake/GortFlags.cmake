# Flags by target, never globally: a program that adds gort as a subdirectory keeps its own.
# What differs between debug and release (-O, -g, NDEBUG) comes from the build type in CMakePresets.json.

set(GORT_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wundef -Wvla -Wcast-align)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 at -O3 takes std::string's own copies for overlapping ones (its bug 105651).
  list(APPEND GORT_WARNINGS -Wno-restrict)
endif()
if(GORT_WERROR)
  list(APPEND GORT_WARNINGS -Werror)
endif()

# What every piece of our own code gets, tests and examples included.
function(gort_common_flags target)
  target_compile_features(${target} PUBLIC cxx_std_23)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS ON POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  # Not as the program around gort has it: our files define names of their own that are alike, and a compiler newer than
  # ours has new warnings.
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  if(NOT GORT_WERROR)
    set_target_properties(${target} PROPERTIES COMPILE_WARNING_AS_ERROR OFF)
  endif()
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:${GORT_WARNINGS}> -g -fno-omit-frame-pointer)
  target_compile_definitions(${target} PUBLIC
    $<$<BOOL:${GORT_TESTING}>:GORT_TESTING=1> $<$<BOOL:${GORT_DEBUG}>:GORT_DEBUG=1>)
  if(GORT_LTO)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # Fat objects, so that nm, gdb and a linker without the plugin still see machine code.
      target_compile_options(${target} PRIVATE -flto=auto -ffat-lto-objects)
      target_link_options(${target} PUBLIC -flto=auto)
      # It sees a slot of four bytes beside what chan.cc does with elements of eight; that the channel has none, it does not.
      target_link_options(${target} PRIVATE -Wno-stringop-overflow)
    else()
      target_compile_options(${target} PRIVATE -flto=thin)
      target_link_options(${target} PUBLIC -flto=thin -fuse-ld=lld)
    endif()
  endif()
  if(GORT_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${GORT_SANITIZE})
    target_link_options(${target} PUBLIC -fsanitize=${GORT_SANITIZE})
    if(GORT_SANITIZE MATCHES "undefined")
      # A finding ends the test. vptr needs RTTI, which the core is built without.
      target_compile_options(${target} PRIVATE -fno-sanitize-recover=all -fno-sanitize=vptr)
    endif()
    if(GORT_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC warns about every fence under TSan; docs/ tells which of them TSan cannot see.
      target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
    endif()
  endif()
endfunction()

# Code that may include internal headers as "floor/x.h": the floors themselves, tests, benchmarks.
function(gort_internal_includes target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
    ${PROJECT_SOURCE_DIR})
endfunction()

# ASan may keep frames on a "fake" stack of the thread's, and clears it after a throw: of all frames that lie below the
# stack pointer. On a signal stack, which may lie anywhere, those are live frames of the interrupted function. So what
# runs in signal handlers has its frames on the real stack only (docs/sanitizers.md).
set(GORT_NO_FAKE_FRAMES)
# A program around gort may have asked for ASan in the flags of all that it builds.
get_directory_property(gort_given_options COMPILE_OPTIONS)
string(TOUPPER "CMAKE_CXX_FLAGS_${CMAKE_BUILD_TYPE}" gort_given_flags)
set(gort_given_flags "${CMAKE_CXX_FLAGS} ${${gort_given_flags}} ${gort_given_options}")
if(GORT_SANITIZE MATCHES "address" OR gort_given_flags MATCHES "-fsanitize=([a-z-]+,)*address")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(GORT_NO_FAKE_FRAMES --param=asan-use-after-return=0)
  else()
    set(GORT_NO_FAKE_FRAMES -fsanitize-address-use-after-return=never)
  endif()
endif()

function(gort_core_flags target)
  gort_common_flags(${target})
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${GORT_NO_FAKE_FRAMES}>)
  gort_internal_includes(${target})
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics>
    -fasynchronous-unwind-tables)
endfunction()

function(gort_api_flags target)
  gort_common_flags(${target})
  gort_internal_includes(${target})
endfunction()

# What a program that links gort sees: the public headers and nothing of src/.
function(gort_public_usage target)
  gort_common_flags(${target})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  set(THREADS_PREFER_PTHREAD_FLAG ON)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PUBLIC Threads::Threads)
endfunction()

# Tests, benchmarks and examples may use other people's libraries: whoever includes one links it.
# Where it is not installed (the cross build has none), the program is left out, and that is said.
function(gort_libraries_by_includes source out_libraries out_missing)
  set(libraries)
  set(missing)
  file(STRINGS ${source} lines REGEX "^#include <((boost/(context|fiber)|fmt|CLI|nlohmann)/|http_parser.h>)")
  foreach(line IN LISTS lines)
    if(line MATCHES "<boost/(context|fiber)/")
      set(component ${CMAKE_MATCH_1})
      find_package(Boost QUIET COMPONENTS ${component})
      set(library Boost::${component})
    elseif(line MATCHES "<fmt/")
      find_package(fmt QUIET)
      set(library fmt::fmt)
    elseif(line MATCHES "<nlohmann/")
      find_package(nlohmann_json QUIET)
      set(library nlohmann_json::nlohmann_json)
    elseif(line MATCHES "<http_parser")
      find_library(GORT_HTTP_PARSER http_parser)
      mark_as_advanced(GORT_HTTP_PARSER)
      set(library gort_http_parser)
      if(GORT_HTTP_PARSER AND NOT TARGET ${library})
        add_library(${library} INTERFACE IMPORTED)
        target_link_libraries(${library} INTERFACE ${GORT_HTTP_PARSER})
      endif()
    else()
      find_package(CLI11 QUIET)
      set(library CLI11::CLI11)
    endif()
    if(TARGET ${library})
      list(APPEND libraries ${library})
    else()
      set(missing ${library})
    endif()
  endforeach()
  set(${out_libraries} "${libraries}" PARENT_SCOPE)
  set(${out_missing} "${missing}" PARENT_SCOPE)
endfunction()
