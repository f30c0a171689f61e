# gort_add_polls(<target>): compiles the target with compiler-inserted polls (docs/polls.md), and links what they call.
#
#   find_package(gort REQUIRED)
#   add_executable(app main.cc)
#   gort_add_polls(app)
#
# Call it where the target is made. For C and C++ sources; GCC 12 and Clang 19 are what it is tested with.
#
# Clang's default (edges, pruned) and `bb` leave out blocks that others dominate, a loop's only block among them:
# `for (;;) ++n;` would have no poll. Without pruning each block has one, so each loop has. GCC knows that form only.
# GCC inserts late, after link-time optimization, and then only if the *linker's* run is asked to, which would also
# catch gort itself. So there the target is compiled without LTO; other targets keep theirs.
function(gort_add_polls target)
  if(NOT TARGET ${target})
    message(FATAL_ERROR "gort_add_polls: there is no target '${target}'")
  endif()
  get_target_property(type ${target} TYPE)
  get_target_property(imported ${target} IMPORTED)
  if(type STREQUAL "INTERFACE_LIBRARY" OR imported)
    message(FATAL_ERROR "gort_add_polls: nothing of '${target}' is compiled here")
  endif()
  foreach(language IN ITEMS C CXX)
    if(CMAKE_${language}_COMPILER_ID AND NOT CMAKE_${language}_COMPILER_ID MATCHES "^(GNU|Clang)$")
      message(FATAL_ERROR "gort_add_polls: knows GCC and Clang, not ${CMAKE_${language}_COMPILER_ID}")
    endif()
  endforeach()
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANG_AND_ID:C,GNU>:-fsanitize-coverage=trace-pc;-fno-lto>"
    "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fsanitize-coverage=trace-pc;-fno-lto>"
    "$<$<COMPILE_LANG_AND_ID:C,Clang>:-fsanitize-coverage=bb,no-prune,trace-pc>"
    "$<$<COMPILE_LANG_AND_ID:CXX,Clang>:-fsanitize-coverage=bb,no-prune,trace-pc>")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set_property(TARGET ${target} PROPERTY INTERPROCEDURAL_OPTIMIZATION OFF)
  endif()
  # By property: target_link_libraries() refuses a target that its owner links with the other of its two forms.
  set_property(TARGET ${target} APPEND PROPERTY LINK_LIBRARIES gort::polls)
  if(type MATCHES "^(STATIC|OBJECT)_LIBRARY$")
    set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_LIBRARIES $<LINK_ONLY:gort::polls>)
  endif()
endfunction()
