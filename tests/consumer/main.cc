// Compiled against an installed gort by run.cmake: do the installed headers and library suffice?
#if __has_include(<gort/gort.h>)
#include <gort/gort.h>

int main() {
  return gort::run([] {
    auto answer = gort::spawn([] { return 42; });
    return answer.get() == 42 ? 0 : 1;
  });
}
#else
int main() { return 0; }  // no public header yet: the package itself is what is tested
#endif
