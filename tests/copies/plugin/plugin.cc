// A plugin that was linked with the static library: a copy of gort of its own.
#include <gort/gort.h>

extern "C" [[gnu::visibility("default")]] int plugin_runs() {
  return gort::run([] { return gort::spawn([] { return 17; }).get(); });
}
