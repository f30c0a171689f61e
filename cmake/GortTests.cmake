# Tests. A unit test stands beside its unit (src/**/x_test.cc), a whole-program test is tests/**/x_test.cc;
# all use GoogleTest, and each file is a program of its own. Under ctest every test *case* runs in a
# process of its own, because the runtime is process-wide state: cases cannot lean on each other.
#
# A test file may say what it wants in a comment line of its own:
#
#   // test: labels=slow,smoke timeout=300 needs=GORT_TESTING
#
#   labels    words for ctest -L. `slow` keeps it out of `make test`; `smoke` takes a whole-program test
#             into the subset that `make test` runs on the release build (unit tests are in it anyway).
#   timeout   seconds for one case; 60 if not said; several times that under sanitizers and qemu.
#             The watchdog of a hang, not a performance claim.
#   needs     CMake variables that must be true, else the file is not built in this configuration.
#             Files named *_fault_test.cc and all of tests/founding need GORT_TESTING without saying so.
#
# Labels given by place: the floor's name and `unit` for src/<floor>; the folder's name for tests/<folder>.
# Tests in src/os/sim and tests/sim are built against gort_sim instead of gort.
if(CMAKE_CROSSCOMPILING)
  # Debian has GoogleTest's sources as well, for whoever cannot use the host's library.
  add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
else()
  find_package(GTest)
  if(NOT GTest_FOUND)
    message(FATAL_ERROR "The tests need GoogleTest (Debian: libgtest-dev; scripts/setup installs it). "
      "-DGORT_BUILD_TESTS=OFF builds gort without them.")
  endif()
endif()
include(GoogleTest)

# Debug builds abort on malloc in the runtime. Sanitizers bring their own malloc.
set(GORT_MALLOC_GUARD OFF)
if(GORT_DEBUG AND NOT GORT_SANITIZE AND NOT CMAKE_CROSSCOMPILING AND core_sources MATCHES "/os/linux/")
  set(GORT_MALLOC_GUARD ON)
  add_library(gort_malloc_guard OBJECT ${PROJECT_SOURCE_DIR}/tests/support/malloc_guard.cc)
  gort_common_flags(gort_malloc_guard)
  gort_internal_includes(gort_malloc_guard)
endif()

# For `needs=`: tests that replace what sanitizers replace.
set(GORT_UNSANITIZED ON)
if(GORT_SANITIZE)
  set(GORT_UNSANITIZED OFF)
endif()

# What the sanitizers' runtimes are told, and how much slower things are under them or qemu.
set(gort_test_environment)
set(gort_test_slowness 1)
if(GORT_SANITIZE MATCHES "address")
  list(APPEND gort_test_environment ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1)
  set(gort_test_slowness 3)
elseif(GORT_SANITIZE MATCHES "thread")
  list(APPEND gort_test_environment
    TSAN_OPTIONS=second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp)
  set(gort_test_slowness 5)
elseif(GORT_SANITIZE MATCHES "undefined")
  list(APPEND gort_test_environment UBSAN_OPTIONS=print_stacktrace=1)
  set(gort_test_slowness 2)
endif()
if(CMAKE_CROSSCOMPILING)
  set(gort_test_slowness 10)
endif()

# Helpers that several test programs share: tests/support/*.cc.
file(GLOB gort_support_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cc)
list(FILTER gort_support_sources EXCLUDE REGEX "_test\\.cc$|/malloc_guard\\.cc$")
# Compiled once for all programs.
add_library(gort_test_support OBJECT ${gort_support_sources})
gort_common_flags(gort_test_support)
gort_internal_includes(gort_test_support)
target_link_libraries(gort_test_support PRIVATE GTest::gtest)
if(GORT_MALLOC_GUARD)
  target_compile_definitions(gort_test_support PRIVATE GORT_MALLOC_GUARD=1)
endif()

# Half of the time of a newcomer's first `make test` goes into reading the same headers a hundred times. Not beside a
# compiler cache, which does better, so that who works on gort finds out what a test has forgotten to include.
function(gort_test_headers target)
  if(CMAKE_CXX_COMPILER_LAUNCHER OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  get_property(owner GLOBAL PROPERTY GORT_TEST_HEADERS)
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  else()
    set_property(GLOBAL PROPERTY GORT_TEST_HEADERS ${target})
    target_precompile_headers(${target} PRIVATE <gtest/gtest.h> <atomic> <chrono> <functional> <memory> <optional> <string>
      <thread> <vector> <gort/gort.h>)
  endif()
endfunction()

# Reads the `// test:` line of a file into test_labels, test_timeout, test_missing of the caller.
function(gort_test_wishes source)
  set(labels)
  set(timeout 60)
  set(needs)
  file(STRINGS ${source} lines REGEX "^// test: ")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^// test: +" "" line "${line}")
    separate_arguments(words UNIX_COMMAND "${line}")
    foreach(word IN LISTS words)
      if(word MATCHES "^labels=(.+)$")
        string(REPLACE "," ";" more "${CMAKE_MATCH_1}")
        list(APPEND labels ${more})
      elseif(word MATCHES "^timeout=([0-9]+)$")
        set(timeout ${CMAKE_MATCH_1})
      elseif(word MATCHES "^needs=(.+)$")
        string(REPLACE "," ";" more "${CMAKE_MATCH_1}")
        list(APPEND needs ${more})
      else()
        message(FATAL_ERROR "${source}: '${word}' is no wish of a test; cmake/GortTests.cmake lists them")
      endif()
    endforeach()
  endforeach()
  if(source MATCHES "_fault_test\\.cc$|/tests/founding/")
    list(APPEND needs GORT_TESTING)
  endif()
  set(missing)
  foreach(need IN LISTS needs)
    if(NOT ${need})
      set(missing ${need})
    endif()
  endforeach()
  set(test_labels ${labels} PARENT_SCOPE)
  math(EXPR timeout "${timeout} * ${gort_test_slowness}")
  set(test_timeout ${timeout} PARENT_SCOPE)
  set(test_missing "${missing}" PARENT_SCOPE)
endfunction()

# Most of a first `make test` is the compilation of tests, and a fifth of that is written for locals that nobody looks at:
# functions and lines are enough for traces. -DGORT_TEST_LOCALS=ON for an afternoon in gdb. What is about debug
# information itself has it all.
option(GORT_TEST_LOCALS "debug information about local variables of tests" OFF)
function(gort_less_debug_info target path)
  if(NOT GORT_TEST_LOCALS AND path MATCHES "(tests/(scenarios|sync|founding|kv|sim|steps|net|os)|src/(sync|api|sched|sema|base|os))/")
    target_compile_options(${target} PRIVATE -g1)
  endif()
endfunction()

# What the tests of one folder share is compiled once.
function(gort_shared_by_tests dir out_objects)
  file(RELATIVE_PATH rel ${PROJECT_SOURCE_DIR} ${dir})
  string(REGEX REPLACE "[/.]" "_" objects "gort_shared_${rel}")
  set(${out_objects} ${objects} PARENT_SCOPE)
  if(TARGET ${objects})
    return()
  endif()
  add_library(${objects} OBJECT EXCLUDE_FROM_ALL ${ARGN})
  gort_common_flags(${objects})
  gort_less_debug_info(${objects} ${dir}/)
  gort_internal_includes(${objects})
  target_link_libraries(${objects} PRIVATE gort GTest::gtest)
  if(GORT_MALLOC_GUARD)
    target_compile_definitions(${objects} PRIVATE GORT_MALLOC_GUARD=1)
  endif()
  if(rel STREQUAL "tests/kv")
    target_link_libraries(${objects} PRIVATE gort_kv)
    target_compile_definitions(${objects} PRIVATE GORT_KV_PROGRAM="$<TARGET_FILE:gort-kv>")
  endif()
endfunction()

# A test whose program is left out here: it is counted and named as skipped, not silently absent.
function(gort_test_left_out name labels why)
  add_test(NAME ${name} COMMAND sh -c "echo 'SKIPPED: ${why}'; exit 77")
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" SKIP_RETURN_CODE 77)
endfunction()

function(gort_test source)
  file(RELATIVE_PATH rel ${PROJECT_SOURCE_DIR} ${source})
  string(REGEX REPLACE "\\.cc$" "" name ${rel})
  string(REGEX REPLACE "[/.]" "_" target ${name})

  gort_test_wishes(${source})
  gort_libraries_by_includes(${source} libraries missing_library)
  list(APPEND test_missing ${missing_library})
  if(test_missing)
    message(STATUS "${rel}: not built, needs ${test_missing}")
    if(missing_library AND NOT CMAKE_CROSSCOMPILING)
      gort_test_left_out(${name} "${test_labels}" "needs ${missing_library}")
    endif()
    return()
  endif()
  if(rel MATCHES "^src/([^/]+)/")
    list(APPEND test_labels unit smoke ${CMAKE_MATCH_1})
  elseif(rel MATCHES "^tests/([^/]+)/")
    list(APPEND test_labels ${CMAKE_MATCH_1})
  endif()
  if("slow" IN_LIST test_labels)
    list(REMOVE_ITEM test_labels smoke)
  endif()
  set(library gort)
  if(source MATCHES "/src/os/sim/|/tests/sim/")
    set(library gort_sim)
    if(source MATCHES "/tests/sim/")
      set(library gort_sim_scenarios)
    endif()
    list(APPEND test_labels sim)
  endif()
  list(REMOVE_DUPLICATES test_labels)

  add_executable(${target} ${source})
  if(library STREQUAL gort)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:gort_test_support>)
    if(GORT_MALLOC_GUARD)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:gort_malloc_guard>)
      target_compile_definitions(${target} PRIVATE GORT_MALLOC_GUARD=1)
    endif()
  endif()
  if(rel MATCHES "^tests/" AND NOT rel MATCHES "^tests/sim/")
    # What the tests of one folder share stands in that folder.
    get_filename_component(dir ${source} DIRECTORY)
    file(GLOB shared CONFIGURE_DEPENDS ${dir}/*.cc)
    list(FILTER shared EXCLUDE REGEX "_(test|fuzz)\\.cc$|/tests/support/")
    if(NOT dir MATCHES "/tests/(founding|kv|reports|steps)$")
      target_sources(${target} PRIVATE ${shared})  # few, or compiled in the manner of the program
    elseif(shared)
      gort_shared_by_tests(${dir} shared_objects ${shared})
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${shared_objects}>)
    endif()
  endif()
  gort_common_flags(${target})
  gort_less_debug_info(${target} ${source})
  if(GORT_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 takes parts of libstdc++'s <regex> for uninitialized then.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
  gort_internal_includes(${target})
  target_link_libraries(${target} PRIVATE ${library} ${libraries} GTest::gtest_main ${CMAKE_DL_LIBS})
  if(library STREQUAL gort AND rel MATCHES "^tests/(founding|net|os|reports|scenarios|stress|sync|world)/")
    gort_test_headers(${target})
  endif()
  if(rel MATCHES "^tests/kv/")
    target_link_libraries(${target} PRIVATE gort_kv)
    target_compile_definitions(${target} PRIVATE GORT_KV_PROGRAM="$<TARGET_FILE:gort-kv>")
    add_dependencies(${target} gort-kv)
  endif()
  if(GORT_SMOKE_TESTS_ONLY AND NOT "smoke" IN_LIST test_labels)
    # The time of a newcomer's first `make test` goes into compiling. The same runs in the debug build, and optimized in
    # the Clang and LTO builds.
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL TRUE)
    return()
  endif()
  string(REGEX REPLACE "^src/" "" prefix ${name})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test_programs)
  # PRE_TEST: cases are listed when ctest starts, so that a program that crashes at start does not
  # break the build of the others.
  gtest_discover_tests(${target} TEST_PREFIX "${prefix}:" DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    TEST_LIST ${target}_TESTS PROPERTIES TIMEOUT ${test_timeout})
  set(more_environment)
  if(GORT_TESTING AND rel MATCHES "^tests/(scenarios|sync)/(${gort_migrated_scenarios})_test\\.cc$")
    # Once more, with every departure continuing on another thread.
    gtest_discover_tests(${target} TEST_PREFIX "forcemigrate/${prefix}:" DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
      TEST_LIST ${target}_MIGRATED PROPERTIES TIMEOUT ${test_timeout})
    set(more_environment "set_tests_properties(\${@target@_MIGRATED} PROPERTIES LABELS \"@test_labels@;forcemigrate;slow\"
      ENVIRONMENT \"@gort_test_environment@;GORT_DEBUG=forcemigrate=1\")")
    string(CONFIGURE "${more_environment}" more_environment @ONLY)
  endif()
  # As properties there, lists would be flattened; ctest reads this file after the cases.
  set(labels_file ${PROJECT_BINARY_DIR}/test_labels/${target}.cmake)
  file(CONFIGURE OUTPUT ${labels_file} CONTENT
    "set_tests_properties(\${@target@_TESTS} PROPERTIES LABELS \"@test_labels@\"
      ENVIRONMENT \"@gort_test_environment@\")\n@more_environment@\n" @ONLY)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
  set_property(GLOBAL APPEND PROPERTY GORT_TEST_TARGETS ${target})
endfunction()

# Scenarios that also run under GORT_DEBUG=forcemigrate=1.
set(gort_migrated_scenarios "call_loop|exceptions|run|scheduling|sema|sema_pingpong|thread_local|threads")
string(APPEND gort_migrated_scenarios "|chan|chan_model|chan_values|select|timer|timer_scenarios|scope|promise|bubble")
string(APPEND gort_migrated_scenarios "|context|context_callbacks|context_deadline|context_tasks")
string(APPEND gort_migrated_scenarios "|condition_variable|counters|mutex|once|pool|semaphore|shared_mutex|timed")

file(GLOB_RECURSE gort_test_sources CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/src/*_test.cc ${PROJECT_SOURCE_DIR}/tests/*_test.cc)
list(FILTER gort_test_sources EXCLUDE REGEX "/tests/consumer/")
# Another architecture's unit tests do not even compile.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(gort_foreign_arch aarch64)
else()
  set(gort_foreign_arch x86_64)
endif()
list(FILTER gort_test_sources EXCLUDE REGEX "/arch/${gort_foreign_arch}/")
foreach(source IN LISTS gort_test_sources)
  gort_test(${source})
endforeach()
# The programs that are compiled with polls.
gort_add_polls(tests_polls_polls_test)
gort_add_polls(tests_polls_served_test)
if(GORT_LTO AND TARGET tests_scenarios_thread_local_test)
  target_compile_definitions(tests_scenarios_thread_local_test PRIVATE GORT_TEST_LTO=1)
endif()
# The one whose mutexes are watched. Sanitizers replace the same functions.
if(TARGET tests_held_locks_held_locks_test)
  target_link_libraries(tests_held_locks_held_locks_test PRIVATE gort::held_locks)
endif()
# A plugin with a copy of gort of its own.
add_library(gort_copy_plugin MODULE ${PROJECT_SOURCE_DIR}/tests/copies/plugin/plugin.cc)
gort_common_flags(gort_copy_plugin)
target_link_libraries(gort_copy_plugin PRIVATE gort)
set_target_properties(gort_copy_plugin PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test_programs)
add_dependencies(tests_copies_second_copy_test gort_copy_plugin)
target_compile_definitions(tests_copies_second_copy_test PRIVATE
  GORT_COPY_PLUGIN="$<TARGET_FILE:gort_copy_plugin>")
# A library that calls the test in the middle of dlopen.
if(TARGET tests_scenarios_captured_locks_test)
  add_library(gort_constructor_plugin MODULE ${PROJECT_SOURCE_DIR}/tests/scenarios/captured/constructor.cc)
  gort_common_flags(gort_constructor_plugin)
  set_target_properties(gort_constructor_plugin PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test_programs)
  add_dependencies(tests_scenarios_captured_locks_test gort_constructor_plugin)
  target_compile_definitions(tests_scenarios_captured_locks_test PRIVATE
    GORT_TEST_CONSTRUCTOR_PLUGIN="$<TARGET_FILE:gort_constructor_plugin>")
endif()
# A changed `// test:` line is a changed configuration.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${gort_test_sources})

# The simulator's tests alone: cmake --build build/sim --target sim_tests.
get_property(gort_test_targets GLOBAL PROPERTY GORT_TEST_TARGETS)
list(FILTER gort_test_targets INCLUDE REGEX "_sim_")
add_custom_target(sim_tests DEPENDS ${gort_test_targets})
if(TARGET gort-sim)
  add_dependencies(sim_tests gort-sim)
  # A little of everything; `make sim` runs more.
  add_test(NAME sim:short COMMAND gort-sim --short --seconds 7)
  math(EXPR timeout "120 * ${gort_test_slowness}")
  set_tests_properties(sim:short PROPERTIES TIMEOUT ${timeout} LABELS "sim")
elseif(NOT CMAKE_CROSSCOMPILING)
  gort_test_left_out(sim:short "sim" "gort-sim needs CLI11 and nlohmann-json (scripts/setup)")
endif()

# Fuzzing (Clang, by hand): cmake --preset clang -DGORT_FUZZ=ON; build/clang/fuzz/kv_resp_fuzz corpus/, httpd_request_fuzz
option(GORT_FUZZ "libFuzzer targets; needs Clang" OFF)
if(GORT_FUZZ)
  get_target_property(fuzz_sources gort_kv SOURCES)
  list(TRANSFORM fuzz_sources REPLACE "^([^/])" "${PROJECT_SOURCE_DIR}/examples/kv/\\1")
  add_executable(kv_resp_fuzz ${PROJECT_SOURCE_DIR}/tests/kv/resp_fuzz.cc ${PROJECT_SOURCE_DIR}/tests/kv/feed.cc ${fuzz_sources})
  gort_common_flags(kv_resp_fuzz)
  target_include_directories(kv_resp_fuzz PRIVATE ${PROJECT_SOURCE_DIR}/examples/kv ${PROJECT_SOURCE_DIR}/tests/kv)
  target_compile_options(kv_resp_fuzz PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr)
  target_link_options(kv_resp_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(kv_resp_fuzz PRIVATE gort)
  find_library(GORT_HTTP_PARSER http_parser)
  set(fuzzers kv_resp_fuzz)
  if(GORT_HTTP_PARSER)
    list(APPEND fuzzers httpd_request_fuzz)
    add_executable(httpd_request_fuzz ${PROJECT_SOURCE_DIR}/tests/httpd/request_fuzz.cc ${PROJECT_SOURCE_DIR}/examples/httpd/request.cc)
    gort_common_flags(httpd_request_fuzz)
    target_include_directories(httpd_request_fuzz PRIVATE ${PROJECT_SOURCE_DIR}/examples/httpd)
    target_compile_options(httpd_request_fuzz PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr)
    target_link_options(httpd_request_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
    target_link_libraries(httpd_request_fuzz PRIVATE ${GORT_HTTP_PARSER})
  endif()
  set_target_properties(${fuzzers} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endif()

# The demo, which asks for redis-benchmark.
if(NOT GORT_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
  add_test(NAME kv:demo COMMAND python3 ${PROJECT_SOURCE_DIR}/examples/kv/demo.py $<TARGET_FILE:gort-kv>)
  set_tests_properties(kv:demo PROPERTIES TIMEOUT 180 LABELS "kv;smoke" SKIP_RETURN_CODE 77)
endif()

# The founding bugs alone: tools/founding.
get_property(gort_test_targets GLOBAL PROPERTY GORT_TEST_TARGETS)
list(FILTER gort_test_targets INCLUDE REGEX "^tests_founding_")
add_custom_target(founding_tests DEPENDS ${gort_test_targets})

# The house's own rules, as tests. They need no compiler, so one configuration is enough for most.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
function(gort_check name labels)
  add_test(NAME house:${name} COMMAND Python3::Interpreter ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(house:${name} PROPERTIES TIMEOUT 120 LABELS "house;${labels}")
endfunction()
if(GORT_DEBUG AND NOT GORT_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
  gort_check(floors "" tools/check_floors)
  gort_check(floors_selftest "" tools/check_floors --self-test)
  gort_check(symbols_selftest "" tools/check_symbols --self-test)
  gort_check(run_tests_selftest "" tools/run_tests --self-test)
  gort_check(bench_run_selftest slow bench/run_test.py)
endif()
# What release objects may ask of libc (and what a release must not contain).
if(NOT GORT_DEBUG AND NOT GORT_TESTING AND NOT GORT_SANITIZE AND NOT GORT_LTO
   AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_CROSSCOMPILING)
  gort_check(symbols smoke tools/check_symbols ${PROJECT_BINARY_DIR})
endif()
if(GORT_INSTALL AND NOT GORT_SANITIZE AND NOT GORT_TESTING AND NOT GORT_LTO AND NOT CMAKE_CROSSCOMPILING)
  add_test(NAME house:consumer COMMAND ${CMAKE_COMMAND}
    -DBUILD=${PROJECT_BINARY_DIR} -DSOURCE=${PROJECT_SOURCE_DIR} -DCXX=${CMAKE_CXX_COMPILER}
    -P ${PROJECT_SOURCE_DIR}/tests/consumer/run.cmake)
  set_tests_properties(house:consumer PROPERTIES TIMEOUT 300 LABELS "house;slow;smoke")
endif()

# Users' sanitized programs against a release library.
if(NOT GORT_DEBUG AND NOT GORT_TESTING AND NOT GORT_SANITIZE AND NOT GORT_LTO AND GORT_INSTALL
   AND NOT CMAKE_CROSSCOMPILING)
  include(${PROJECT_SOURCE_DIR}/tests/sanitizers/tests.cmake)
endif()
