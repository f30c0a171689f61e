// Ask several replicas, take the first answer, cancel the rest: they stop where they wait, and their destructors run.
#include <gort/gort.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

namespace {

std::atomic<int> connections{0};

struct connection {
  connection() { ++connections; }
  ~connection() { --connections; }
};

std::string ask(int replica) {
  connection c;
  gort::this_goroutine::sleep_for(replica == 3 ? 1ms : 1h);  // the others are slow today
  return "answer of replica " + std::to_string(replica);
}

std::string first_answer() {
  gort::chan<std::string> answers(1);
  gort::scope replicas;
  for (int r = 0; r < 8; ++r) {
    replicas.go([=] { answers.try_send(ask(r)); });
  }
  return answers.recv().value();  // leaving the scope cancels the rest, and waits until they are gone
}

}  // namespace

int main() {
  return gort::run([] {
    std::printf("%s\n", first_answer().c_str());
    std::printf("%d connections left\n", connections.load());
    return 0;
  });
}
// prints:
// answer of replica 3
// 0 connections left
