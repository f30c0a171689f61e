// Waiting for several things at once. select() gives the index of the case that happened.
#include <gort/gort.h>

#include <chrono>
#include <cstdio>
#include <optional>

using namespace std::chrono_literals;

int main() {
  return gort::run([] {
    gort::chan<int> numbers(0);
    gort::chan<int> quit(0);
    gort::scope s;
    s.go([=] {
      for (int i = 1; i <= 3; ++i) numbers.send(i);
      gort::this_goroutine::sleep_for(20ms);
      quit.close();
    });
    for (bool over = false; !over;) {
      std::optional<int> n;
      switch (gort::select(numbers.on_recv(n), quit.on_recv(), gort::after(5ms))) {
        case 0: std::printf("number %d\n", *n); break;
        case 1: over = true; break;
        case 2: break;  // nothing for 5 ms: a place for housekeeping
      }
    }
    // A case that is always ready makes it a look instead of a wait.
    std::optional<int> n;
    if (gort::select(numbers.on_recv(n), gort::otherwise) == 1) std::puts("nobody sends any more");
    return 0;
  });
}
// prints:
// number 1
// number 2
// number 3
// nobody sends any more
