// A bridge from a library that calls back from threads of its own: gort::promise is set from any thread, and a
// goroutine waits for it without holding one.
#include <gort/gort.h>

#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

// Somebody else's library.
class client {
 public:
  void call(std::string request, std::function<void(std::string reply, bool ok)> done) {
    thread_ = std::thread([=] { done("reply to " + request, request != "nonsense"); });
  }
  ~client() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::thread thread_;
};

// The same call in blocking style.
std::string call(std::string request) {
  gort::promise<std::string> p;
  client c;
  c.call(request, [&](std::string reply, bool ok) {
    if (ok) {
      p.set(std::move(reply));
    } else {
      p.set_exception(std::make_exception_ptr(std::runtime_error("refused: " + request)));
    }
  });
  gort::shield until_called_back;  // the callback refers to this stack: do not leave before
  return p.get();
}

}  // namespace

int main() {
  return gort::run([] {
    std::printf("%s\n", call("hello").c_str());
    try {
      call("nonsense");
    } catch (const std::runtime_error& e) {
      std::printf("%s\n", e.what());
    }
    return 0;
  });
}
// prints:
// reply to hello
// refused: nonsense
