# What a program may link beside gort: libraries that replace a symbol of somebody else's for the whole program, so
# that only who asks for them has them.
#
#   gort::polls        what compiler-inserted polls call; by gort_add_polls(target)      docs/polls.md
#   gort::held_locks   reports std::mutexes that are held over a park                     docs/held_locks.md
function(gort_addon name)
  set(target gort_${name})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/addons/${name}/*.cc)
  add_library(${target} STATIC ${sources})
  add_library(gort::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} INTERPROCEDURAL_OPTIMIZATION OFF)
  gort_common_flags(${target})
  gort_internal_includes(${target})
  target_link_libraries(${target} PUBLIC gort)
  # Whoever calls these functions must not have them inlined, with a thread's addresses in them.
  target_compile_options(${target} PRIVATE -fno-lto)
endfunction()

gort_addon(polls)
include(GortAddPolls)

gort_addon(held_locks)
target_link_libraries(gort_held_locks PUBLIC ${CMAKE_DL_LIBS})
# A program that locks only inside its shared libraries refers to nothing of it.
target_link_options(gort_held_locks INTERFACE LINKER:-u,gort_v0_held_locks)
