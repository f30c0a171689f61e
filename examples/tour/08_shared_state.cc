// Shared state under a mutex: the standard library's own guards, a goroutine waits and not its thread.
#include <gort/gort.h>

#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>

namespace {

class inventory {
 public:
  void put(const std::string& what, int n) {
    {
      std::scoped_lock hold(mutex_);
      stock_[what] += n;
    }
    changed_.notify_all();
  }
  // Waits until there are n of them, and takes them.
  void take(const std::string& what, int n) {
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [&] { return stock_[what] >= n; });
    stock_[what] -= n;
  }
  int left(const std::string& what) {
    std::scoped_lock hold(mutex_);
    return stock_[what];
  }

 private:
  gort::mutex mutex_;
  gort::condition_variable changed_;
  std::map<std::string, int> stock_;
};

constinit gort::mutex log_mutex;  // constant-initialized, as std::mutex is
int lines = 0;

}  // namespace

int main() {
  return gort::run([] {
    inventory store;
    gort::scope s;
    for (int i = 0; i < 100; ++i) {
      s.go([&] {
        store.take("bolt", 3);
        std::scoped_lock hold(log_mutex);
        ++lines;
      });
    }
    for (int i = 0; i < 100; ++i) s.go([&] { store.put("bolt", 4); });
    s.join();
    std::printf("%d taken, %d bolts left\n", lines, store.left("bolt"));
    return 0;
  });
}
// prints:
// 100 taken, 100 bolts left
