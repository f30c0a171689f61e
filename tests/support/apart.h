// gort: for functions of tests that stand in tracebacks: each keeps its own code and its own name.
#pragma once

#if defined(__clang__)
#define GORT_TEST_APART [[gnu::noinline]]
#else
#define GORT_TEST_APART [[gnu::noinline, gnu::noipa]]  // GCC would make clones of it
#endif
