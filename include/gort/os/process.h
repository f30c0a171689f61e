// gort: child processes.
//
//   auto r = gort::os::run({.argv = {"git", "log", "-1"}});          // waits; r->out is what it wrote
//
//   gort::with_timeout limit(5s);                                     // kills it, if it takes longer
//   auto p = gort::os::start({.argv = {"sort"}, .in = gort::os::stdio::pipe, .out = gort::os::stdio::pipe});
//   p->in.write_all("b\na\n");
//   p->in.close();
//   ... p->out.read_some(...) ...
//   auto how = p->wait();
//
//   what ends                        the child
//   wait()                           has ended, and is gone
//   wait() in a cancelled context    is killed (SIGKILL) and waited for; operation_canceled
//   the process object               likewise, if nobody has waited
//   detach()                         goes on; this process's parent duties for it are somebody else's
//
// Where SIGCHLD is ignored, or somebody else in the program waits for all children, a child's status may be gone before
// wait() asks: no_child_process.
//
// The child gets an empty signal mask, SIGPIPE's default action, and no descriptors but its standard ones.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gort/net/conn.h"

namespace gort::inline v0::os {

enum class stdio : unsigned char {
  inherit,  ///< this process's
  null,     ///< /dev/null
  pipe,     ///< a pipe, whose other end is process::in, out or err
};

struct command {
  std::vector<std::string> argv;                        ///< argv[0] is looked for in PATH unless it has a slash
  std::optional<std::vector<std::string>> env = {};     ///< "NAME=value"; nothing: this process's
  std::string dir = {};                                 ///< where it runs; empty: here
  stdio in = stdio::null;
  stdio out = stdio::inherit;
  stdio err = stdio::inherit;
};

struct exit_status {
  int code = 0;    ///< of exit; -1: ended by a signal
  int signal = 0;  ///< which; 0: none
  bool ok() const noexcept { return code == 0 && signal == 0; }
};

class [[nodiscard]] process {
 public:
  process() noexcept = default;
  process(process&& other) noexcept;
  process& operator=(process&& other) noexcept;
  ~process();

  int pid() const noexcept { return pid_; }
  /// Blocks until it has ended. Once; net::closed after that.
  net::result<exit_status> wait();
  /// Sends a signal. no_such_process: it has been waited for. Any thread, also while another waits; so nobody but the process
  /// itself is ever hit.
  net::result<void> kill(int signo);
  void detach() && noexcept;

  net::conn in;   ///< where stdio::pipe was asked for
  net::conn out;
  net::conn err;

 private:
  friend net::result<process> start(const command& c);
  int pid_ = -1;
  bool lost_ = false;  ///< it was gone before it could be looked after
  net::detail::fd_owner fd_;  ///< a pidfd
};

/// Does not wait for anything but the system to make the process. no_such_file_or_directory, permission_denied: argv[0].
/// invalid_argument: no argv, or a zero in one of the strings.
net::result<process> start(const command& c);

struct finished {
  exit_status status;
  std::string out;  ///< what it wrote to its standard output
  std::string err;
};
/// Starts it with pipes for out and err, reads both and waits. With a pipe for `in`, it reads its end at once.
net::result<finished> run(command c);

}  // namespace gort::inline v0::os
