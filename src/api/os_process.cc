#include "gort/os/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <shared_mutex>

#include "api/net_fd.h"
#include "api/os_env.h"
#include "api/raw_fd.h"
#include "gort/blocking.h"
#include "gort/context.h"
#include "gort/go.h"
#include "gort/os/pipe.h"

namespace gort::inline v0::os {

namespace {

[[gnu::noinline]] int last_errno() noexcept { return errno; }

std::unexpected<std::error_code> fails(int e) { return net::detail::fails(e); }

constexpr unsigned kPidfd = 3;  // idtype_t P_PIDFD

struct attributes {
  posix_spawnattr_t a;
  posix_spawn_file_actions_t files;
  attributes() noexcept {
    ::posix_spawnattr_init(&a);
    ::posix_spawn_file_actions_init(&files);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    ::posix_spawnattr_setsigmask(&a, &none);
    ::posix_spawnattr_setsigdefault(&a, &defaults);
    ::posix_spawnattr_setflags(&a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~attributes() {
    ::posix_spawnattr_destroy(&a);
    ::posix_spawn_file_actions_destroy(&files);
  }
};

/// The child's side of its standard descriptor `n`; ours into *end. 0 or errno.
int connect_stdio(attributes& at, int n, stdio how, net::conn* end, int* childs) {
  if (how == stdio::null) {
    ::posix_spawn_file_actions_addopen(&at.files, n, "/dev/null", n == 0 ? O_RDONLY : O_WRONLY, 0);
    return 0;
  }
  if (how != stdio::pipe) return 0;
  int fds[2];
  if (raw_pipe(fds) != 0) return last_errno();
  *childs = fds[n == 0 ? 0 : 1];
  const int ours = fds[n == 0 ? 1 : 0];
  // Where this process has closed its own standard ones: the child's would be put in its place.
  if (*childs < 3) {
    const int higher = ::fcntl(*childs, F_DUPFD_CLOEXEC, 3);
    const int e = last_errno();
    os::fd_close(std::exchange(*childs, higher));
    if (higher < 0) {
      os::fd_close(ours);
      return e;
    }
  }
  net::result<net::conn> c = net::conn::adopt(ours);
  if (!c) {
    os::fd_close(ours);
    return c.error().value();
  }
  *end = *std::move(c);
  ::posix_spawn_file_actions_adddup2(&at.files, *childs, n);
  return 0;
}

std::vector<char*> pointers(const std::vector<std::string>& v) {
  std::vector<char*> p;
  for (const std::string& s : v) p.push_back(const_cast<char*>(s.c_str()));
  p.push_back(nullptr);
  return p;
}

/// The child would get what stands before it, and not the rest.
bool has_zero(const command& c) noexcept {
  const auto one = [](const std::string& s) { return s.find('\0') != s.npos; };
  return std::ranges::any_of(c.argv, one) || one(c.dir) || (c.env && std::ranges::any_of(*c.env, one));
}

/// The child has ended; its status. Negative: -errno; -EAGAIN: not yet.
long reap(int pidfd, exit_status* out) noexcept {
  siginfo_t info{};
  if (::waitid(static_cast<idtype_t>(kPidfd), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) != 0) return -last_errno();
  if (info.si_pid == 0) return -EAGAIN;
  *out = info.si_code == CLD_EXITED ? exit_status{info.si_status, 0} : exit_status{-1, info.si_status};
  return 0;
}

/// Kills and waits for a child for which there is no pidfd. Its number is its own as long as it is there to be waited for.
void end_unwatched(pid_t pid) noexcept {
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) ::kill(pid, SIGKILL);
  gort::blocking([&] {
    while (::waitpid(pid, nullptr, 0) < 0 && last_errno() == EINTR) {
    }
  });
}

}  // namespace

process::process(process&& other) noexcept
    : in(std::move(other.in)), out(std::move(other.out)), err(std::move(other.err)), pid_(std::exchange(other.pid_, -1)),
      lost_(std::exchange(other.lost_, false)), fd_(std::move(other.fd_)) {}

process& process::operator=(process&& other) noexcept {
  if (this == &other) return *this;
  this->~process();
  return *::new (this) process(std::move(other));
}

process::~process() {
  if (!net::detail::fd_is_open(fd_.get()) || rt::in_fork_child()) return;
  static_cast<void>(kill(SIGKILL));
  const shield uninterrupted;
  static_cast<void>(wait());
}

net::result<exit_status> process::wait() {
  if (std::exchange(lost_, false)) return fails(ECHILD);
  exit_status status;
  std::ptrdiff_t r = net::detail::attempt(fd_.get(), rt::kReadSide, 0, [&](int fd) { return std::ptrdiff_t{reap(fd, &status)}; });
  if (r == -ECANCELED) {
    static_cast<void>(kill(SIGKILL));
    const shield uninterrupted;
    r = net::detail::attempt(fd_.get(), rt::kReadSide, 0, [&](int fd) { return std::ptrdiff_t{reap(fd, &status)}; });
    if (r == 0) r = -ECANCELED;
  }
  static_cast<void>(net::detail::fd_close(fd_.get()));  // the record stays: kill() may be looking at it
  if (r < 0) return fails(static_cast<int>(-r));
  return status;
}

net::result<void> process::kill(int signo) {
  const int e = net::detail::with_fd(fd_.get(), [&](int fd) {
    return ::syscall(SYS_pidfd_send_signal, fd, signo, nullptr, 0) == 0 ? 0 : last_errno();
  });
  return net::detail::done_or(e == EBADF ? ESRCH : e);
}

void process::detach() && noexcept {
  fd_ = {};
  pid_ = -1;
}

net::result<process> start(const command& c) {
  if (c.argv.empty() || has_zero(c)) return fails(EINVAL);
  if (rt::is_cancelled(gort::detail::cancellation())) return fails(ECANCELED);
  attributes at;
  process p;
  int childs[3] = {-1, -1, -1};
  int e = connect_stdio(at, 0, c.in, &p.in, &childs[0]);
  if (e == 0) e = connect_stdio(at, 1, c.out, &p.out, &childs[1]);
  if (e == 0) e = connect_stdio(at, 2, c.err, &p.err, &childs[2]);
  if (e == 0) e = ::posix_spawn_file_actions_addclosefrom_np(&at.files, 3);
  if (e == 0 && !c.dir.empty()) e = ::posix_spawn_file_actions_addchdir_np(&at.files, c.dir.c_str());
  const std::vector<char*> argv = pointers(c.argv);
  const std::vector<char*> env = c.env ? pointers(*c.env) : std::vector<char*>();
  pid_t pid = -1;
  if (e == 0) {
    const std::shared_lock guard(env_turns);
    // The thread sleeps, as in vfork, until the child has its program: nobody could stop it.
    e = gort::blocking([&] {
      return ::posix_spawnp(&pid, argv[0], &at.files, &at.a, argv.data(), c.env ? env.data() : environ);
    });
  }
  for (const int fd : childs) {
    if (fd >= 0) os::fd_close(fd);
  }
  if (e != 0) return fails(e);
  p.pid_ = pid;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  net::result<net::detail::fd_owner> f = pidfd >= 0 ? net::detail::own_fd(pidfd, 0) : fails(last_errno());
  if (!f && f.error() == std::errc::no_such_process) {  // it has done its work already, and somebody has its status
    p.lost_ = true;
    return p;
  }
  if (!f) {  // no descriptors left: nobody could wait for it
    end_unwatched(pid);
    return std::unexpected(f.error());
  }
  p.fd_ = *std::move(f);
  return p;
}

namespace {

net::result<void> read_all(net::conn& from, std::string* all) {
  char room[16 * 1024];
  for (;;) {
    const net::result<std::size_t> n = from.read_some(room);
    if (!n) return std::unexpected(n.error());
    if (*n == 0) return {};
    all->append(room, *n);
  }
}

}  // namespace

net::result<finished> run(command c) {
  c.out = c.err = stdio::pipe;
  net::result<process> p = start(c);
  if (!p) return std::unexpected(p.error());
  p->in.close();
  finished f;
  {
    auto other = gort::spawn([&] { return read_all(p->err, &f.err); });
    static_cast<void>(read_all(p->out, &f.out));
    try {
      static_cast<void>(other.get());
    } catch (const cancelled&) {  // wait says so
    }
  }
  const net::result<exit_status> s = p->wait();
  if (!s) return std::unexpected(s.error());
  f.status = *s;
  return f;
}

// ---- pipes -------------------------------------------------------------------------------------

net::result<pipe_ends> pipe() {
  int fds[2];
  if (raw_pipe(fds) != 0) return fails(last_errno());
  net::result<net::conn> r = net::conn::adopt(fds[0]);
  net::result<net::conn> w = r ? net::conn::adopt(fds[1]) : net::result<net::conn>(std::unexpected(r.error()));
  if (r && w) return pipe_ends{*std::move(r), *std::move(w)};
  if (!r) os::fd_close(fds[0]);
  os::fd_close(fds[1]);
  return std::unexpected(w.error());
}

}  // namespace gort::inline v0::os
