// Loops in the shapes that a compiler may give no poll to. Each ends when *stop is set, endless() never.
#pragma once

#include <atomic>

namespace gort::test {

int plain_while(const std::atomic<bool>& stop);
int do_while(const std::atomic<bool>& stop);
int by_goto(const std::atomic<bool>& stop);
int nested(const std::atomic<bool>& stop);
int by_recursion(const std::atomic<bool>& stop, int depth);
[[noreturn]] void endless(volatile int* n);

}  // namespace gort::test
