# cmake -DBUILD=<configured gort> -DSOURCE=<its source> -DCXX=<compiler> -P run.cmake
# Installs gort into <build>/prefix, then builds and runs the project beside this file against it, by
# CMake and, where there is a pkg-config, by that too.
set(prefix ${BUILD}/prefix)
set(work ${BUILD}/consumer)
file(REMOVE_RECURSE ${prefix} ${work})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " line)
    message(FATAL_ERROR "failed (${status}): ${line}")
  endif()
endfunction()

# --prefix does not reach gort.pc, which is written when gort is configured; DESTDIR trees and
# packages configure with the right prefix.
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
run(${CMAKE_COMMAND} -S ${SOURCE}/tests/consumer -B ${work} -G Ninja
  -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${work})
run(${work}/consumer)

find_program(PKG_CONFIG pkg-config)
file(GLOB_RECURSE pc ${prefix}/*/gort.pc)
if(NOT pc)
  message(FATAL_ERROR "gort.pc was not installed")
endif()
if(PKG_CONFIG)
  get_filename_component(pc_dir ${pc} DIRECTORY)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${pc_dir}
      ${PKG_CONFIG} --define-variable=prefix=${prefix} --cflags --libs gort
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${CXX} -std=c++23 ${SOURCE}/tests/consumer/main.cc -o ${work}/by_pkg_config ${flags})
  run(${work}/by_pkg_config)
endif()
