#include "tests/reports/subject.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace gort::test {

namespace {

constexpr char kVariable[] = "GORT_TEST_SUBJECT";
constexpr char kReady[] = "ready\n";

[[noreturn]] void be_subject(const std::string& name, const How& how, int out, int err) {
  dup2(out, 1);
  dup2(err, 2);
  // Whatever the test runner ignores or blocks is not the subject's.
  for (const int signo : {SIGQUIT, SIGURG, SIGINT, SIGPIPE}) signal(signo, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const char* inherited : {"GORT_MAXPROCS", "GORT_TRACEBACK", "GORT_DEBUG"}) unsetenv(inherited);
  for (const std::string& e : how.env) putenv(strdup(e.c_str()));
  setenv(kVariable, name.c_str(), 1);
  alarm(60);
  execl("/proc/self/exe", "subject", static_cast<char*>(nullptr));
  _exit(127);
}

/// Appends what is there; false at the end.
bool read_some(int fd, std::string* to) {
  char buf[4096];
  const ssize_t n = read(fd, buf, sizeof buf);
  if (n > 0) to->append(buf, static_cast<std::size_t>(n));
  return n > 0;
}

}  // namespace

std::string Outcome::line(int n) const {
  std::size_t at = 0;
  for (; n > 0 && at != std::string::npos; --n) {
    at = err.find('\n', at);
    if (at != std::string::npos) ++at;
  }
  return at == std::string::npos ? "" : err.substr(at, err.find('\n', at) - at);
}

std::string Outcome::names() const {
  // The last address line is followed by an empty line or by the end of a trace.
  std::size_t at = err.rfind("\n\t0x");
  if (at == std::string::npos) return {};
  at = err.find("\n\n", at);
  return at == std::string::npos ? "" : err.substr(at + 2);
}

std::string Outcome::trace_of(const std::string& header) const {
  const std::string text = names();
  const std::size_t at = text.find(header);
  return at == std::string::npos ? "" : text.substr(at, text.find("\n\n", at) - at);
}

Outcome run_subject(const std::string& name, const How& how) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) abort();
  const pid_t pid = fork();
  if (pid == 0) be_subject(name, how, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  Outcome o;
  bool sent = how.send == 0;
  pollfd fds[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[0].revents != 0 && !read_some(out[0], &o.out)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !read_some(err[0], &o.err)) fds[1].fd = -1;
    if (!sent && o.out.find(kReady) != std::string::npos) {
      sent = true;
      kill(pid, how.send);
      if (how.send_again_after_ms != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(how.send_again_after_ms));
        kill(pid, how.send);
      }
    }
  }
  int status = 0;
  waitpid(pid, &status, 0);
  close(out[0]);
  close(err[0]);
  if (WIFEXITED(status)) o.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) o.signal = WTERMSIG(status);
  return o;
}

void ready() {
  const ssize_t n = write(1, kReady, sizeof kReady - 1);
  static_cast<void>(n);
}

}  // namespace gort::test

int main(int argc, char** argv) {
  if (const char* wanted = std::getenv("GORT_TEST_SUBJECT")) {
    for (auto* s = gort::test::Subject::first; s != nullptr; s = s->next) {
      if (std::strcmp(s->name, wanted) != 0) continue;
      s->fn();
      return 0;
    }
    return 126;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
