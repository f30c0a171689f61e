// The program gort-kv as a child process, and a client of it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kv_test {

struct temporary {
  std::string path;
  temporary();
  ~temporary();
  temporary(const temporary&) = delete;
};

/// A blocking TCP connection to loopback.
class client {
 public:
  client() = default;
  explicit client(int port);
  client(client&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  client& operator=(client&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~client();
  bool connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  bool send(std::string_view bytes);
  /// Until that much text has come, the end ("" or less), or 20 s.
  std::string read_until(std::string_view end);
  /// What comes until the other side closes, or 20 s.
  std::string read_all();
  /// One request as one types it, and its answer rendered.
  std::string operator()(std::string_view line);

 private:
  int fd_ = -1;
};

/// On a free port. Killed at the end.
class program {
 public:
  explicit program(std::vector<std::string> args, std::vector<std::string> environment = {});
  ~program();
  program(const program&) = delete;
  /// Waits until it listens (true) or has ended.
  bool ready();
  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string operator()(std::string_view line) { return client_(line); }
  /// Sends the signal and waits for the end.
  void kill(int signal);
  /// Waits for the end: the exit status, or -signal.
  int status();
  /// All that it has printed so far.
  std::string output() const;

 private:
  temporary dir_;
  pid_t pid_ = -1;
  int status_ = -1;
  int port_ = 0;
  client client_;
};

}  // namespace kv_test
