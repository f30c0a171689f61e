#include "program.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "feed.h"
#include "text.h"

namespace kv_test {

temporary::temporary() {
  const char* tmp = std::getenv("TMPDIR");
  path = std::string(tmp != nullptr ? tmp : "/tmp") + "/gort_kv.XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) std::abort();
}
temporary::~temporary() { std::filesystem::remove_all(path); }

client::client(int port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a = {};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience = {20, 0};
  const int on = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0)
    ::close(std::exchange(fd_, -1));
}
client::~client() {
  if (fd_ >= 0) ::close(fd_);
}

bool client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string client::read_until(std::string_view end) {
  std::string got;
  char room[65536];
  while (!got.ends_with(end)) {
    const ssize_t n = ::read(fd_, room, sizeof room);
    if (n <= 0) break;
    got.append(room, static_cast<std::size_t>(n));
  }
  return got;
}

std::string client::read_all() {
  std::string got;
  char room[65536];
  for (ssize_t n; (n = ::read(fd_, room, sizeof room)) > 0;)
    got.append(room, static_cast<std::size_t>(n));
  return got;
}

std::string client::operator()(std::string_view line) {
  std::vector<std::string> words;
  kv::split_words(line, words);
  if (!send(request(words))) return "(not sent)";
  std::string got;
  do {
    char room[65536];
    const ssize_t n = ::read(fd_, room, sizeof room);
    if (n <= 0) return "(no answer)";
    got.append(room, static_cast<std::size_t>(n));
  } while (!got.ends_with("\r\n") || render(got).find("(incomplete)") != std::string::npos);
  return render(got);
}

program::program(std::vector<std::string> args, std::vector<std::string> environment) {
  args.insert(args.begin(), {GORT_KV_PROGRAM, "--port", "0"});
  const std::string out = dir_.path + "/out";
  pid_ = ::fork();
  if (pid_ != 0) return;
  const int fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(fd, 1);
  ::dup2(fd, 2);
  for (std::string& e : environment) ::putenv(e.data());
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

program::~program() {
  if (pid_ > 0) kill(SIGKILL);
}

bool program::ready() {
  for (;;) {
    const std::string text = output();
    const auto at = text.find("ready on 127.0.0.1:");
    if (at != text.npos && text.find('\n', at) != text.npos) {
      port_ = std::atoi(text.c_str() + at + 19);
      client_ = client(port_);
      return client_.connected();
    }
    int s = 0;
    if (::waitpid(pid_, &s, WNOHANG) == pid_) {
      status_ = WIFEXITED(s) ? WEXITSTATUS(s) : -WTERMSIG(s);
      pid_ = -1;
      return false;
    }
    ::usleep(2000);
  }
}

void program::kill(int signal) {
  if (pid_ > 0) ::kill(pid_, signal);
  status();
}

int program::status() {
  if (pid_ <= 0) return status_;
  int s = 0;
  ::waitpid(pid_, &s, 0);
  pid_ = -1;
  return status_ = WIFEXITED(s) ? WEXITSTATUS(s) : -WTERMSIG(s);
}

std::string program::output() const {
  std::ostringstream s;
  s << std::ifstream(dir_.path + "/out").rdbuf();
  return s.str();
}

}  // namespace kv_test
