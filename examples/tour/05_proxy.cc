// The shape of a proxy: one goroutine per connection and direction, a deadline per request, and whoever ends first
// takes the other along. (Sockets come with gort::net; here a connection is a pair of channels.)
#include <gort/gort.h>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

namespace {

struct connection {
  gort::chan<std::string> in{4};
  gort::chan<std::string> out{4};
};

// Copies until the sender closes, then says so to the receiver.
void copy(gort::recv_chan<std::string> from, gort::send_chan<std::string> to) {
  gort::closing done(to);
  for (std::string line : from) to.send(std::move(line));
}

void serve(connection client, connection server) {
  gort::with_timeout limit(1s);  // everything below is cancelled then, however deep it waits
  gort::scope both;
  both.go(copy, client.in, server.in);
  both.go(copy, server.out, client.out);
  both.join();
}

void upper_case_server(connection c) {
  gort::closing done(c.out);
  for (std::string line : c.in) {
    for (char& ch : line) ch = static_cast<char>(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
    c.out.send(std::move(line));
  }
}

}  // namespace

int main() {
  return gort::run([] {
    connection client;
    connection server;
    gort::scope s;
    s.go(upper_case_server, server);
    s.go(serve, client, server);
    client.in.send("hello");
    client.in.send("proxy");
    client.in.close();
    for (const std::string& line : client.out) std::printf("%s\n", line.c_str());
    s.join();
    return 0;
  });
}
// prints:
// HELLO
// PROXY
