# cmake --install: the library, its headers, gortConfig.cmake for find_package, gort.pc for pkg-config.
# Internal headers (src/) are not installed.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gort)
install(TARGETS gort gort_polls gort_held_locks EXPORT gortTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gort)
if(IS_DIRECTORY ${PROJECT_SOURCE_DIR}/include)
  install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endif()
install(EXPORT gortTargets NAMESPACE gort:: DESTINATION ${package_dir})

configure_package_config_file(cmake/gortConfig.cmake.in gortConfig.cmake INSTALL_DESTINATION ${package_dir})
# Layout is baked into users' objects, so nothing but the same minor version will do before 1.0.
write_basic_package_version_file(gortConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gortConfig.cmake ${PROJECT_BINARY_DIR}/gortConfigVersion.cmake
  cmake/GortAddPolls.cmake
  DESTINATION ${package_dir})

# The same list for pkg-config: names for the linker instead of targets and paths.
set(GORT_PC_LIBS)
get_target_property(libraries gort LINK_LIBRARIES)
foreach(library IN LISTS libraries)
  string(REGEX REPLACE "\\$<INSTALL_INTERFACE:(.*)>" "\\1" library "${library}")
  if(library MATCHES "^[A-Za-z0-9_+-]+$")
    string(APPEND GORT_PC_LIBS "-l${library} ")
  endif()
endforeach()
string(STRIP "${GORT_PC_LIBS}" GORT_PC_LIBS)
# Found from where gort.pc lies, so that `cmake --install --prefix`, DESTDIR and a copied tree need nothing else. Folders
# that were given as absolute paths stay what they are.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(GORT_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(GORT_PC_LIBDIR ${CMAKE_INSTALL_LIBDIR})
else()
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" GORT_PC_PREFIX "\${pcfiledir}/${up}")
  set(GORT_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(GORT_PC_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR})
else()
  set(GORT_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/gort.pc.in gort.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/gort.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
# What the headers and the README refer to.
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES bench/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/bench)
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR}
  FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.cc" PATTERN "*.h")
