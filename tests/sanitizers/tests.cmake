# Users' sanitized programs against this build's release library (user_program_test says what is tested). The
# compilers are the user's choice, so they are looked for, whatever built the library.
function(gort_sanitizer_test name)
  add_test(NAME sanitizers:${name} COMMAND Python3::Interpreter
    ${PROJECT_SOURCE_DIR}/tests/sanitizers/user_program_test
    --build ${PROJECT_BINARY_DIR} --source ${PROJECT_SOURCE_DIR} ${ARGN})
  set_tests_properties(sanitizers:${name} PROPERTIES TIMEOUT 600 LABELS "sanitizers;slow" SKIP_RETURN_CODE 77)
endfunction()
foreach(compiler IN ITEMS g++ clang++-19)
  gort_sanitizer_test(thread_${compiler} --compiler ${compiler} thread)
  gort_sanitizer_test(address_${compiler} --compiler ${compiler} address)
endforeach()
gort_sanitizer_test(ceiling --compiler g++ ceiling)
if(GORT_BUILD_EXAMPLES)
  gort_sanitizer_test(valgrind --compiler g++ valgrind)
endif()
