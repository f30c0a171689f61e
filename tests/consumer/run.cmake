# cmake -DBUILD=<configured gort> -DSOURCE=<its source> -DCXX=<compiler> -P run.cmake
# Installs gort into <build>/prefix, then builds and runs the project beside this file against it, by
# CMake and, where there is a pkg-config, by that too.
set(prefix ${BUILD}/prefix)
set(work ${BUILD}/consumer)
file(REMOVE_RECURSE ${prefix} ${work} ${work}_clang ${work}_subdirectory)

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " line)
    message(FATAL_ERROR "failed (${status}): ${line}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
# The README's links lead somewhere where it is installed, too.
file(GLOB readme ${prefix}/*/doc/gort/README.md)
list(GET readme 0 readme)
cmake_path(GET readme PARENT_PATH doc)
file(READ ${readme} text)
# Brackets mean something else in CMake's lists.
string(REPLACE "](" "@" text "${text}")
string(REGEX MATCHALL "@[A-Za-z0-9_./]+" links "${text}")
foreach(link IN LISTS links)
  string(SUBSTRING ${link} 1 -1 link)
  if(NOT EXISTS ${doc}/${link})
    message(FATAL_ERROR "the installed README.md refers to ${link}, which is not there")
  endif()
endforeach()
function(build_and_run compiler work)
  run(${CMAKE_COMMAND} -S ${SOURCE}/tests/consumer -B ${work} -G Ninja
    -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${compiler} -DCMAKE_BUILD_TYPE=Release)
  run(${CMAKE_COMMAND} --build ${work})
  run(${work}/consumer)
  run(${work}/polled)
  execute_process(COMMAND ${work}/held_lock ERROR_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
  if(NOT said MATCHES "gort: goroutine [0-9]+ parks \\(semacquire\\) while it holds a std::mutex at 0x")
    message(FATAL_ERROR "gort::held_locks did not report: '${said}'")
  endif()
  # In the code of the loop, not only somewhere in the program.
  find_program(OBJDUMP objdump REQUIRED)
  execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${work}/libpolled_part.a -r
    OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "__sanitizer_cov_trace_pc" calls "${code}")
  list(LENGTH calls calls)
  if(calls LESS 2)
    message(FATAL_ERROR "gort_add_polls: ${calls} polls in a function with a loop (${compiler})")
  endif()
endfunction()
build_and_run(${CXX} ${work})
# The user's compiler may be another one than the library's.
find_program(CLANG clang++-19)
if(CLANG AND NOT CXX MATCHES "clang")
  build_and_run(${CLANG} ${work}_clang)
endif()

# As a part of a project whose settings are not gort's.
run(${CMAKE_COMMAND} -S ${SOURCE}/tests/consumer/subdirectory -B ${work}_subdirectory -G Ninja -DGORT_SOURCE=${SOURCE}
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON)
file(STRINGS ${work}_subdirectory/compile_commands.json commands REGEX "\"command\":.* [^ ]*/src/sync/mutex\\.cc")
if(NOT commands MATCHES "-std=(gnu|c)..(23|2b)" OR commands MATCHES "-Werror"
    OR NOT commands MATCHES "use-after-return")
  message(FATAL_ERROR "gort in a subdirectory is not compiled as it must be: '${commands}'")
endif()

# By -I, as pkg-config says it and add_subdirectory does; by find_package compilers take them for system headers.
file(GLOB_RECURSE headers RELATIVE ${prefix}/include ${prefix}/include/*.h)
list(TRANSFORM headers REPLACE "(.+)" "#include <\\1>")
list(JOIN headers "\n" includes)
configure_file(${SOURCE}/tests/consumer/strict.cc.in ${work}/strict.cc @ONLY)
set(warnings -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wpedantic -Wnon-virtual-dtor
  -Woverloaded-virtual -Wcast-align -Wcast-qual -Wundef -Wzero-as-null-pointer-constant -Wextra-semi -Wredundant-decls)
run(${CXX} -std=c++23 -fsyntax-only -I${prefix}/include -Werror ${warnings} ${work}/strict.cc)
if(CLANG)
  run(${CLANG} -std=c++23 -fsyntax-only -I${prefix}/include -Werror ${warnings} ${work}/strict.cc)
endif()

find_program(PKG_CONFIG pkg-config)
file(GLOB_RECURSE pc ${prefix}/*/gort.pc)
if(NOT pc)
  message(FATAL_ERROR "gort.pc was not installed")
endif()
if(PKG_CONFIG)
  get_filename_component(pc_dir ${pc} DIRECTORY)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${pc_dir}
      ${PKG_CONFIG} --cflags --libs gort
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${CXX} -std=c++23 ${SOURCE}/tests/consumer/main.cc -o ${work}/by_pkg_config ${flags})
  run(${work}/by_pkg_config)
endif()
