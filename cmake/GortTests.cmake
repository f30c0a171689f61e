# Unit tests stand beside their units (src/**/x_test.cc, one program each); whole-program tests are
# tests/**/x_test.cc. All use GoogleTest.
find_package(GTest REQUIRED)

function(gort_test source)
  get_filename_component(name ${source} NAME_WE)
  file(RELATIVE_PATH rel ${PROJECT_SOURCE_DIR} ${source})
  string(REGEX REPLACE "[/.]" "_" target ${rel})
  string(REGEX REPLACE "_cc$" "" target ${target})
  add_executable(${target} ${source})
  gort_common_flags(${target})
  target_link_libraries(${target} PRIVATE gort GTest::gtest_main)
  add_test(NAME ${target} COMMAND ${target})
  set_tests_properties(${target} PROPERTIES TIMEOUT 120)
endfunction()

file(GLOB_RECURSE gort_test_sources CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/src/*_test.cc ${PROJECT_SOURCE_DIR}/tests/*_test.cc)
foreach(source IN LISTS gort_test_sources)
  if(NOT source MATCHES "/os/sim/|/tests/sim/")
    gort_test(${source})
  endif()
endforeach()
