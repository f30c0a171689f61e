// gort: the one thread-local variable. os/tls.h says why it is initial-exec.
//
// A shared object that contains it loads with dlopen as well: 24 bytes come out of the static TLS
// surplus that glibc keeps for exactly this (1,664 bytes by default,
// glibc.rtld.optional_static_tls).
#include "os/tls.h"

// Only assembly names it, which link-time optimization does not see: without `used` it is dropped, without
// `externally_visible` GCC makes it local to one of its partitions.
#if defined(__clang__)
#define GORT_NAMED_BY_ASSEMBLY used
#else
#define GORT_NAMED_BY_ASSEMBLY used, externally_visible
#endif

extern "C" {
constinit __thread gort::v0::os::Tls gort_v0_tls
    __attribute__((tls_model("initial-exec"), GORT_NAMED_BY_ASSEMBLY)) = {};
}
