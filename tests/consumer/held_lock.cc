// Linked with gort::held_locks: must be reported, and end well.
#include <gort/gort.h>

#include <mutex>

int main() {
  return gort::run([] {
    std::mutex m;
    std::lock_guard guard(m);
    gort::semaphore s(0);
    auto other = gort::spawn([&] { s.release(); });
    s.acquire();
    other.join();
    return 0;
  });
}
