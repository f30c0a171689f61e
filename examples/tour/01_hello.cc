// Goroutines, a channel between them, and a scope that they cannot outlive.
#include <gort/gort.h>

#include <cstdio>

int main() {
  return gort::run([] {
    gort::chan<int> squares(16);    // a cheap handle: capture it by value
    gort::scope workers;            // its goroutines end before it does
    workers.go([=] {
      gort::closing done(squares);  // closes however we leave
      for (int i = 0; i < 4; ++i) squares.send(i * i);
    });
    for (int s : squares) std::printf("%d\n", s);
    return 0;
  });
}
// prints:
// 0
// 1
// 4
// 9
