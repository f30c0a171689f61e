// gort-kv: a server that speaks Redis' protocol. Each connection is a goroutine that reads, executes and answers, written
// as if it had a thread to itself.
//
//   gort-kv [--port 6379] [--bind 127.0.0.1] [--dir .] [--dbfilename dump.gkv] [--maxmemory 100mb] …
//
// It listens on loopback unless told otherwise, saves with BGSAVE and at its end (SIGTERM, SIGINT, SHUTDOWN), and loads
// what was saved when it starts. docs/kv.md.
#include <fcntl.h>
#include <gort/gort.h>
#include <gort/net.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <new>
#include <string>

#include "config.h"
#include "network.h"
#include "server.h"

namespace {

using namespace std::chrono_literals;

constexpr char kUsage[] = R"(usage: gort-kv [--SETTING VALUE] …
  --port 6379            0: any that is free; it is printed
  --bind 127.0.0.1       an address, or the path of a Unix socket
  --requirepass PASSWORD clients have to say it (AUTH) before anything else; else nobody is asked for one
  --dir .                where the snapshot is
  --dbfilename dump.gkv
  --save-at-end yes      save when the server ends
  --save "900 1 60 100"  save after 900 seconds if there was 1 change, and after 60 if there were 100 …
  --maxmemory 0          bytes, or 100mb, 2gb …; 0: no limit
  --maxmemory-policy noeviction   or allkeys-lru, allkeys-random, volatile-lru, volatile-random, volatile-ttl
  --maxclients 10000     fewer if the system allows fewer open files
  --timeout 0            seconds until an idle client is disconnected; 0: never
  --write-timeout 60     seconds that a client may read nothing of its answers
  --pubsub-buffer-limit 32mb      of messages that wait for one subscriber
  --proto-max-bulk-len 512mb      the longest argument
Processors: GORT_MAXPROCS=n, or CONFIG SET maxprocs n while it runs.
)";

/// Signals and SHUTDOWN come in here, a byte each: a handler may do little more than write.
int end_pipe[2] = {-1, -1};
void on_signal(int) {
  const int saved = errno;
  static_cast<void>(!::write(end_pipe[1], "t", 1));
  errno = saved;
}

void catch_signals() {
  struct sigaction act = {};
  act.sa_handler = on_signal;
  act.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(SIGTERM, &act, nullptr);
  ::sigaction(SIGINT, &act, nullptr);
  // The end of the terminal that it was started in, or of who has read its output, is no reason to end. Nor is a snapshot larger
  // than files may be (ulimit -f): that is an error of the one who writes it.
  for (const int signal : {SIGHUP, SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN);
}

/// Tells an operator what he may not have meant.
void warn(kv::server& s) {
  const std::int64_t wanted = s.config.max_clients, room = kv::make_room_for_clients(wanted);
  if (room < wanted) {
    s.config.max_clients = room;
    std::fprintf(stderr,
                 "gort-kv: --maxclients %lld instead of %lld: the system allows no more open files "
                 "(ulimit -n)\n",
                 static_cast<long long>(room), static_cast<long long>(wanted));
  }
  const std::string& b = s.config.bind;
  if (!b.starts_with("127.") && b != "::1" && b != "[::1]" && b != "localhost" &&
      !b.starts_with('/') && !s.config.has_password)
    std::fprintf(
        stderr,
        "gort-kv: whoever reaches %s may do anything: there is no password (--requirepass)\n",
        b.c_str());
}

/// Expired keys, idle clients, snapshots.
void keep_house(kv::server& s) {
  kv::access db(s.keys);
  gort::ticker every(100ms);
  for (int i = 0;; ++i) {
    every.recv();
    // Memory that is not there today may be tomorrow. What leaves this would be the end of the one that accepts, too.
    try {
      s.expire_some(db);
      if (i % 10 == 0) s.end_idle_clients();
      if (i % 10 == 5) s.save_if_due();
    } catch (const std::bad_alloc&) {
      db.unlock();
      s.stats.errors.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

int save_at_end(kv::server& s, bool wanted) {
  s.saves.wait();
  if (!wanted || s.saves.up_to_date()) return 0;
  kv::access db(s.keys);
  if (auto r = s.saves.save(db); !r) {
    std::fprintf(stderr, "gort-kv: not saved: %s\n", r.error().c_str());
    return 1;
  }
  std::printf("gort-kv: saved %zu keys in %s\n", s.keys.size(), s.saves.path().c_str());
  return 0;
}

/// False: the server must not start.
bool load(kv::server& s) {
  if (const auto r = s.saves.check_directory(); !r) {
    std::fprintf(stderr, "gort-kv: %s\n", r.error().c_str());
    return false;
  }
  if (const int n = s.saves.remove_left_over(); n > 0) {
    std::printf("gort-kv: removed %d unfinished snapshot%s\n", n, n == 1 ? "" : "s");
  }
  kv::access db(s.keys);
  const auto n = s.saves.load(db);
  if (!n) {
    std::fprintf(stderr,
                 "gort-kv: cannot load %s\n"
                 "gort-kv: not started, and the file left as it is. Put a whole snapshot in its "
                 "place, or move it away to start empty.\n",
                 n.error().c_str());
    return false;
  }
  if (*n > 0)
    std::printf("gort-kv: loaded %llu keys from %s\n", static_cast<unsigned long long>(*n),
                s.saves.path().c_str());
  return true;
}

int serve(kv::server& s) {
  if (!load(s)) return 1;
  const std::string where = s.config.bind.starts_with('/')
                                ? s.config.bind
                                : s.config.bind + ":" + std::to_string(s.config.port);
  auto listening = gort::net::listen(where);
  auto end = gort::net::conn::adopt(end_pipe[0]);
  if (!listening || !end) {
    std::fprintf(stderr, "gort-kv: cannot listen on %s: %s\n", where.c_str(),
                 (!listening ? listening.error() : end.error()).message().c_str());
    return 1;
  }
  s.config.port = listening->local_address().port();
  std::printf("gort-kv: ready on %s, %d Ps, process %d\n",
              listening->local_address().to_string().c_str(), gort::num_procs(), ::getpid());
  std::fflush(stdout);

  gort::scope house;
  house.go({.name = "janitor"}, [&] { keep_house(s); });
  gort::scope clients;
  house.go({.name = "accept"}, [&] { kv::accept_clients(s, *listening, clients); });

  char why = 't';
  while (!end->read_some(gort::net::buffer(&why, 1))) {
  }
  std::printf("gort-kv: ending\n");
  s.hogs.let_loose(0);
  listening->close();
  kv::hang_up_all(s);
  // Those who do not read their answers are not waited for.
  for (int i = 0; i < 200 && s.clients.size() > 0; ++i) gort::this_goroutine::sleep_for(10ms);
  clients.cancel();
  house.cancel();
  return save_at_end(s, why == 's' || (why == 't' && s.config.save_at_end));
}

}  // namespace

int main(int argc, char** argv) {
  kv::server s;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    std::string error = "a setting, then its value";
    if (name.starts_with("--") && i + 1 < argc)
      error = kv::set_config(s, name.substr(2), argv[i + 1], true);
    if (!error.empty()) {
      std::fprintf(stderr, "gort-kv: %s: %s\n%s", argv[i], error.c_str(), kUsage);
      return name == "--help" ? 0 : 2;
    }
  }
  if (::pipe2(end_pipe, O_CLOEXEC) != 0) return 1;
  s.shut_down = [](bool save) { static_cast<void>(!::write(end_pipe[1], save ? "s" : "n", 1)); };
  catch_signals();
  warn(s);
  return gort::run([&] { return serve(s); });
}
