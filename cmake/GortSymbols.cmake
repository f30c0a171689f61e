# Who turns addresses into functions, files and lines: libdw (elfutils), else libbacktrace, which GCC carries in
# its own folder (Debian packages it with the compiler; there is no pkg-config file). Clang finds that library
# there, but not the header.
#
#   GORT_SYMBOLS=auto          libdw if it links, else libbacktrace, else the plain fallback (default)
#   GORT_SYMBOLS=libdw         an error if it does not
#   GORT_SYMBOLS=libbacktrace  likewise
#   GORT_SYMBOLS=none          the fallback: exported names from the loader, module and offset; no lines
#
# Another libbacktrace (upstream's newer ones also find lines where sections are shared between objects, see
# symbols.h): -DGORT_BACKTRACE_LIBRARY=/path/libbacktrace.a -DGORT_BACKTRACE_INCLUDE=/path/include
#
#   gort_use_symbols(<objects> <library>)   objects: where src/debug is compiled; library: what users link
set(GORT_SYMBOLS "auto" CACHE STRING "Symbolizer: auto, libdw, libbacktrace or none")
set_property(CACHE GORT_SYMBOLS PROPERTY STRINGS auto libdw libbacktrace none)

# Sets GORT_LIBDW_LINKS.
function(gort_find_libdw)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_LIBRARIES dw elf)
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_source_compiles("#include <elfutils/libdwfl.h>
    int main() { return dwfl_begin(nullptr) == nullptr; }"
    GORT_LIBDW_LINKS)
endfunction()

function(gort_find_backtrace out_library out_flags)
  set(${out_library} "" PARENT_SCOPE)
  set(${out_flags} "" PARENT_SCOPE)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libbacktrace.a
    OUTPUT_VARIABLE library OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(dirs)
  if(GORT_BACKTRACE_LIBRARY)
    set(library ${GORT_BACKTRACE_LIBRARY})
  elseif(IS_ABSOLUTE "${library}" AND EXISTS "${library}")
    get_filename_component(library ${library} REALPATH)
    get_filename_component(dir ${library} DIRECTORY)
    list(APPEND dirs ${dir}/include)
  else()
    find_library(GORT_BACKTRACE_LIBRARY backtrace)
    set(library ${GORT_BACKTRACE_LIBRARY})
  endif()
  find_path(GORT_BACKTRACE_INCLUDE backtrace.h HINTS ${dirs})
  mark_as_advanced(GORT_BACKTRACE_LIBRARY GORT_BACKTRACE_INCLUDE)
  if(NOT library OR NOT GORT_BACKTRACE_INCLUDE)
    return()
  endif()
  # Searched last: GCC's folder also holds GCC's stddef.h and intrinsics, which are not for Clang.
  set(flags -idirafter ${GORT_BACKTRACE_INCLUDE})
  include(CheckCXXSourceCompiles)
  list(JOIN flags " " CMAKE_REQUIRED_FLAGS)
  set(CMAKE_REQUIRED_LIBRARIES ${library})
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_source_compiles("#include <backtrace.h>
    int main() { return backtrace_create_state(nullptr, 1, nullptr, nullptr) == nullptr; }"
    GORT_BACKTRACE_LINKS)
  if(GORT_BACKTRACE_LINKS)
    set(${out_library} ${library} PARENT_SCOPE)
    set(${out_flags} ${flags} PARENT_SCOPE)
  endif()
endfunction()

function(gort_use_symbols objects library)
  target_link_libraries(${library} PRIVATE ${CMAKE_DL_LIBS})
  if(GORT_SYMBOLS STREQUAL "none")
    message(STATUS "gort: symbols: loader only (GORT_SYMBOLS=none); traces show module+offset, no lines")
    return()
  elseif(NOT GORT_SYMBOLS MATCHES "^(auto|libdw|libbacktrace)$")
    message(FATAL_ERROR "GORT_SYMBOLS is '${GORT_SYMBOLS}'; it may be auto, libdw, libbacktrace or none")
  endif()
  if(GORT_SYMBOLS MATCHES "^(auto|libdw)$")
    gort_find_libdw()
    if(GORT_LIBDW_LINKS)
      message(STATUS "gort: symbols: libdw")
      target_compile_definitions(${objects} PRIVATE GORT_HAVE_LIBDW=1)
      target_link_libraries(${library} PRIVATE dw elf)
      return()
    elseif(GORT_SYMBOLS STREQUAL "libdw")
      message(FATAL_ERROR "GORT_SYMBOLS=libdw, but elfutils/libdwfl.h and libdw were not found (Debian: libdw-dev)")
    endif()
  endif()
  gort_find_backtrace(archive flags)
  if(NOT archive)
    if(GORT_SYMBOLS STREQUAL "libbacktrace")
      message(FATAL_ERROR "GORT_SYMBOLS=libbacktrace, but backtrace.h and libbacktrace.a were not found")
    endif()
    message(STATUS "gort: symbols: libbacktrace not found; traces show module+offset, no lines")
    return()
  endif()
  message(STATUS "gort: symbols: ${archive}")
  target_compile_definitions(${objects} PRIVATE GORT_HAVE_LIBBACKTRACE=1)
  list(JOIN flags " " flags)
  target_compile_options(${objects} PRIVATE "SHELL:${flags}")
  # Both compilers search GCC's folder when they link, so an installed gort needs the name only.
  target_link_libraries(${library} PRIVATE $<BUILD_INTERFACE:${archive}> $<INSTALL_INTERFACE:backtrace>)
endfunction()
