#include "tests/polls/loops.h"

namespace gort::test {

namespace {
bool set(const std::atomic<bool>& stop) { return stop.load(std::memory_order_relaxed); }
}  // namespace

int plain_while(const std::atomic<bool>& stop) {
  int n = 0;
  while (!set(stop)) n += 3;
  return n;
}

int do_while(const std::atomic<bool>& stop) {
  int n = 0;
  do ++n;
  while (!set(stop));
  return n;
}

int by_goto(const std::atomic<bool>& stop) {
  int n = 0;
again:
  n ^= 5;
  if (!set(stop)) goto again;
  return n;
}

int nested(const std::atomic<bool>& stop) {
  int n = 0;
  for (;;) {
    for (int i = 0; i < 100; ++i) asm volatile("" : "+r"(n));
    if (set(stop)) return n;
  }
}

int by_recursion(const std::atomic<bool>& stop, int depth) {
  if (set(stop)) return depth;
  if (depth >= 100) return 0;
  return by_recursion(stop, depth + 1) + by_recursion(stop, depth + 2);
}

void endless(volatile int* n) {
  for (;;) *n = *n + 1;  // one block, no way out: what pruning compilers give no poll
}

}  // namespace gort::test
