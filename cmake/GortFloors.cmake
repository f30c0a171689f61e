# Sources of a floor: every .cc and .S in its folder but tests and benchmarks, which stand beside their
# units as x_test.cc and x_bench.cc. Dropping a file into a floor is all that it takes to build it.

# The two sets of objects (docs/HACKING.md: L1). tools/check_floors and tools/check_symbols know the same list.
set(GORT_CORE_FLOORS arch base sched sema world sync heap gc net)  # below them: os/linux or os/sim
set(GORT_API_FLOORS trace prof debug api)

function(gort_floor_sources out)
  set(all)
  foreach(floor IN LISTS ARGN)
    set(dir ${PROJECT_SOURCE_DIR}/src/${floor})
    file(GLOB found CONFIGURE_DEPENDS ${dir}/*.cc ${dir}/*.S)
    if(floor STREQUAL "arch")
      file(GLOB asm CONFIGURE_DEPENDS ${dir}/${CMAKE_SYSTEM_PROCESSOR}/*.S ${dir}/${CMAKE_SYSTEM_PROCESSOR}/*.cc)
      list(APPEND found ${asm})
    endif()
    list(FILTER found EXCLUDE REGEX "_(test|bench)\\.cc$")
    list(APPEND all ${found})
  endforeach()
  if(NOT all)
    # CMake refuses an object library without sources; a floor that is still empty is no error.
    list(JOIN ARGN "_" name)
    string(MAKE_C_IDENTIFIER "${name}" name)
    set(all ${PROJECT_BINARY_DIR}/empty/${name}.cc)
    if(NOT EXISTS ${all})
      file(WRITE ${all} "")
    endif()
  endif()
  set(${out} ${all} PARENT_SCOPE)
endfunction()
