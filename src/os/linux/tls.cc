// gort: the one thread-local variable. os/tls.h says why it is initial-exec.
//
// A shared object that contains it loads with dlopen as well: 24 bytes come out of the static TLS
// surplus that glibc keeps for exactly this (1,664 bytes by default,
// glibc.rtld.optional_static_tls).
#include "os/tls.h"

extern "C" {
constinit __thread gort::v0::os::Tls gort_v0_tls __attribute__((tls_model("initial-exec"))) = {};
}
