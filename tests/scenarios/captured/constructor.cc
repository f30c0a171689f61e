// A library whose constructor runs what the loading program says: in the middle of dlopen, with the loader's lock held.
#include <cstdlib>

namespace {
struct AtLoad {
  AtLoad() {
    const char* at = std::getenv("GORT_TEST_CONSTRUCTOR");
    if (at != nullptr) reinterpret_cast<void (*)()>(std::strtoull(at, nullptr, 0))();
  }
} at_load;
}  // namespace
