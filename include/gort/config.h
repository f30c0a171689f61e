// gort: version, configuration and the link-time check that headers and library agree.
//
// Everything public lives in `namespace gort::inline v0`: a program that was compiled against other headers
// does not link, instead of misbehaving. Inline fast paths depend on how the library was built, so each
// translation unit also refers to a symbol that only a library of the same configuration defines; a mismatch
// is a link error that names it.
#pragma once

#if __cplusplus <= 202002L
#error "gort needs C++23: compile with -std=c++23"
#endif

#define GORT_VERSION_MAJOR 0
#define GORT_VERSION_MINOR 1

namespace gort::inline v0 {

#if defined(GORT_TESTING)
extern const char abi_v0_testing;
inline const char* const abi_check [[gnu::used]] = &abi_v0_testing;
#elif defined(GORT_DEBUG)
extern const char abi_v0_debug;
inline const char* const abi_check [[gnu::used]] = &abi_v0_debug;
#else
extern const char abi_v0_release;
inline const char* const abi_check [[gnu::used]] = &abi_v0_release;
#endif

}  // namespace gort::inline v0
