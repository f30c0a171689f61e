# Flags by target, never globally: a program that adds gort as a subdirectory keeps its own.

set(GORT_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wundef -Wvla -Wcast-align -Werror)

function(gort_common_flags target)
  target_compile_features(${target} PUBLIC cxx_std_23)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS ON POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${GORT_WARNINGS}> -g -fno-omit-frame-pointer)
  target_compile_definitions(${target} PUBLIC
    $<$<BOOL:${GORT_TESTING}>:GORT_TESTING=1> $<$<BOOL:${GORT_DEBUG}>:GORT_DEBUG=1>)
  if(GORT_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${GORT_SANITIZE})
    target_link_options(${target} PUBLIC -fsanitize=${GORT_SANITIZE})
  endif()
endfunction()

function(gort_core_flags target)
  gort_common_flags(${target})
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics>
    -fasynchronous-unwind-tables)
endfunction()

function(gort_api_flags target)
  gort_common_flags(${target})
endfunction()

function(gort_public_usage target)
  gort_common_flags(${target})
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PUBLIC Threads::Threads)
endfunction()
