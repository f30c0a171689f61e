// The demo program as a function, since the sanitizer presets build no examples.
#include <gort/gort.h>

#define main wc_main
#include "examples/wc/main.cc"
