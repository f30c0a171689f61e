// The program of README.md: a goroutine that gives a result, one that does not, and waiting for the first.
#include <gort/gort.h>

#include <cstdio>

int main() {
  return gort::run([] {                     // the process-wide runtime starts here
    gort::task<int> sum = gort::spawn([] {  // a goroutine with a result
      int n = 0;
      for (int i = 1; i <= 4; ++i) n += i * i;
      return n;
    });
    gort::go([] { std::puts("a goroutine"); });  // a goroutine without one
    std::printf("%d\n", sum.get());              // parks this goroutine, not the thread
    return 0;
  });
}
