#include "snapshot.h"

#include <fcntl.h>
#include <gort/blocking.h>
#include <gort/context.h>
#include <gort/go.h>
#include <gort/this_goroutine.h>
#include <gort/world.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <new>

#include "command.h"
#include "server.h"
#include "snapshot_format.h"

namespace kv {

using namespace std::chrono_literals;

namespace {
std::string text_of(int error) { return std::strerror(error); }
using result = std::expected<void, std::string>;
result failed(const char* what, const std::string& path, int error) {
  return std::unexpected(std::string(what) + " " + path + ": " + text_of(error));
}
std::int64_t us_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - t)
      .count();
}
/// f() is a system call; 0 or its error. In one function with the call, so that errno is this thread's.
template <class F>
[[gnu::noinline]] int error_of(F&& f) {
  return gort::blocking([&] { return f() < 0 ? errno : 0; });
}
}  // namespace

/// The temporary file, with the checksum of what has been written. Removed unless it was kept.
struct snapshots::file {
  std::string path;
  int fd = -1;
  std::uint64_t sum = 0;

  ~file() {
    if (fd < 0) return;
    ::close(fd);
    ::unlink(path.c_str());
  }
  int open() {
    return error_of([&] {
      fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
      // Tells another server, started here by mistake, that it is not left over. (Where files cannot be locked, nobody is told.)
      if (fd >= 0) ::flock(fd, LOCK_EX | LOCK_NB);
      return fd;
    });
  }
  int write(std::string_view bytes) {
    sum = format::checksum(sum, bytes);
    while (!bytes.empty()) {
      ssize_t n = 0;
      const int e = error_of([&] { return n = ::write(fd, bytes.data(), bytes.size()); });
      if (e != 0 && e != EINTR) return e;
      if (e == 0) bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return 0;
  }
};

std::string snapshots::path() const { return server_.config.dir + "/" + server_.config.file; }

bool snapshots::up_to_date() const {
  return last_try.load() != 0 && last_ok.load() &&
         changes_then.load() == server_.keys.sum(&shard::changes) &&
         ::access(path().c_str(), F_OK) == 0;
}

result snapshots::save(access& db) {
  if (!begin()) return std::unexpected("Background save already in progress");
  std::scoped_lock hold(writing_);
  return save_now(db);
}

bool snapshots::start_in_background() {
  if (!begin()) return false;
  gort::go({.name = "bgsave"}, [this] {
    std::scoped_lock hold(writing_);
    access db(server_.keys);
    if (auto r = save_now(db); !r)
      ::dprintf(2, "gort-kv: snapshot not saved: %s\n", r.error().c_str());
  });
  return true;
}

void snapshots::wait() {
  while (in_progress()) {
    gort::this_goroutine::sleep_for(1ms);
    std::scoped_lock hold(writing_);
  }
}

result snapshots::save_now(access& db) {
  const gort::shield to_the_end;  // also when the server ends: who waits for it would wait for ever
  const auto start = std::chrono::steady_clock::now();
  db.unlock();
  file out{server_.config.dir + "/temp-" + std::to_string(::getpid()) + ".gkv"};
  result r;
  if (const int e = out.open(); e != 0) {
    r = failed("cannot create", out.path, e);
  } else {
    // Before the flip: what is counted by now is complete by then. What comes between is counted as not saved.
    const std::uint64_t changes = server_.keys.sum(&shard::changes);
    flip(db);
    try {
      r = write_all(db, out, server_.now_ms());
    } catch (const std::bad_alloc&) {
      r = std::unexpected("no memory to write " + out.path);
    }
    stop_keeping(db);
    db.unlock();
    if (r) changes_then.store(changes);
  }
  last_try.store(server_.now_ms() / 1000);
  if (r) last_time.store(last_try.load());
  last_ok.store(r.has_value());
  last_ms.store(us_since(start) / 1000);
  running_.store(false, std::memory_order_release);
  return r;
}

/// From here on the snapshot is what the keys were at this moment.
void snapshots::flip(access& db) {
  keyspace& keys = server_.keys;
  const auto turn = [&] {
    keys.epoch.store(keys.epoch.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    keys.saving.store(true, std::memory_order_relaxed);
  };
  // Goroutines stop at calls into gort, and there is none between a command's first change and its last.
  if (auto world = gort::stop_world("snapshot", 50ms)) {
    const auto start = std::chrono::steady_clock::now();
    turn();
    world.restart();
    flip_us.store(us_since(start));
    stopped_world.store(true);
    return;
  }
  // Somebody computes for long without such a call. He holds none of these locks for ever.
  db.lock(keyspace::kAll);
  const auto start = std::chrono::steady_clock::now();
  turn();
  db.unlock();
  flip_us.store(us_since(start));
  stopped_world.store(false);
}

/// After a save that has failed, values may still be kept.
void snapshots::stop_keeping(access& db) {
  server_.keys.saving.store(false, std::memory_order_relaxed);
  db.for_each_shard([](shard& s) { s.for_snapshot = std::vector<kept>(); });
}

result snapshots::write_all(access& db, file& out, std::int64_t time) {
  constexpr int kKeysAtOnce = 128;
  constexpr std::size_t kPiece = 256 << 10, kLarge = 4 << 10;
  const std::uint32_t epoch = server_.keys.epoch.load(std::memory_order_relaxed);
  std::string text;
  std::uint64_t records = 0, kept_ones = 0;
  std::vector<kept> later;  // large values are written without the lock
  const auto take = [&](std::string_view key, const ref<object>& value, std::int64_t expires) {
    if (expires != 0 && expires <= time) return;
    ++records;
    if (value->bytes() > kLarge)
      later.push_back({std::string(key), value, expires});
    else
      format::record(text, key, expires, *value);
  };
  const auto flush = [&]() -> result {
    const int e = out.write(text);
    text.clear();
    if (const auto us = delay_us.load(); us > 0)
      gort::this_goroutine::sleep_for(std::chrono::microseconds(us));
    return e == 0 ? result{} : failed("cannot write", out.path, e);
  };

  format::header(text, time);
  for (unsigned i = 0; i < keyspace::kShards; ++i) {
    std::uint64_t cursor = 0;
    do {
      db.with_shard(i, [&](shard& s) {
        int n = 0;
        do {
          cursor = s.keys.scan(cursor, [&](key_node& k) {
            ++n;
            if (std::exchange(k.value.epoch, epoch) != epoch)
              take(k.key, k.value.value, k.value.expires);
          });
        } while (cursor != 0 && n < kKeysAtOnce);
        kept_ones += s.for_snapshot.size();
        for (const kept& k : s.for_snapshot) take(k.key, k.value, k.expires);
        s.for_snapshot.clear();
      });
      for (const kept& k : later) {
        format::record(text, k.key, k.expires, *k.value);
        if (text.size() >= kPiece) {
          if (auto r = flush(); !r) return r;
        }
      }
      later.clear();
      if (text.size() >= kPiece || delay_us.load(std::memory_order_relaxed) > 0) {
        if (auto r = flush(); !r) return r;
      }
    } while (cursor != 0);
  }
  format::end_mark(text, records);
  if (auto r = flush(); !r) return r;
  format::number(text, out.sum);
  if (auto r = flush(); !r) return r;
  keys_written.store(static_cast<std::int64_t>(records));
  keys_kept.store(static_cast<std::int64_t>(kept_ones));

  const std::string to = path();
  if (const int e = error_of([&] { return ::fsync(out.fd); }); e != 0)
    return failed("cannot sync", out.path, e);
  if (const int e = error_of([&] { return ::rename(out.path.c_str(), to.c_str()); }); e != 0) {
    return failed("cannot rename to", to, e);
  }
  ::close(std::exchange(out.fd, -1));
  int dir = -1;
  if (error_of([&] {
        return dir = ::open(server_.config.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      }) == 0) {
    error_of([&] { return ::fsync(dir); });
    ::close(dir);
  }
  return {};
}

result snapshots::check_directory() const {
  struct stat st;
  const std::string& dir = server_.config.dir;
  if (::stat(dir.c_str(), &st) != 0) return failed("--dir", dir, errno);
  if (!S_ISDIR(st.st_mode)) return failed("--dir", dir, ENOTDIR);
  return {};
}

std::expected<std::uint64_t, std::string> snapshots::load(access& db) {
  const std::string name = path();
  int fd = -1;
  // Not to wait: for the writer of a FIFO, for instance.
  const int e =
      error_of([&] { return fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (e == ENOENT) return 0;
  if (e != 0) return std::unexpected(name + ": " + text_of(e));
  struct stat st;
  ::fstat(fd, &st);
  if (!S_ISREG(st.st_mode)) {
    ::close(fd);
    return std::unexpected(name + ": it is no file");
  }
  const auto size = static_cast<std::size_t>(st.st_size);
  void* at = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) return std::unexpected(name + ": it cannot be mapped");
  db.now = server_.now_ms();
  std::uint64_t loaded = 0;
  const auto r = format::read({static_cast<const char*>(at), size},
                              [&](std::string_view key, std::int64_t expires, ref<object> v) {
                                if (expires != 0 && expires <= db.now) return;
                                db.lock(keyspace::mask_of(key));
                                db.put(key, std::move(v), expires);
                                ++loaded;
                              });
  db.unlock();
  if (at != nullptr) ::munmap(at, size);
  if (!r) return std::unexpected(name + ": " + r.error());
  last_time.store(r->time_ms / 1000);
  changes_then.store(server_.keys.sum(&shard::changes));
  return loaded;
}

int snapshots::remove_left_over() {
  int n = 0;
  std::error_code error;
  for (const auto& f : std::filesystem::directory_iterator(server_.config.dir, error)) {
    const std::string name = f.path().filename().string();
    if (!name.starts_with("temp-") || !name.ends_with(".gkv")) continue;
    const int fd = ::open(f.path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool in_use = fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!in_use) n += std::filesystem::remove(f.path(), error);
    if (fd >= 0) ::close(fd);
  }
  return n;
}

namespace {

void save(call& c) {
  if (auto r = c.srv.saves.save(c.db); !r) throw general(r.error());
  c.out.ok();
}
void bgsave(call& c) {
  if (!c.srv.saves.start_in_background()) throw general("Background save already in progress");
  c.out.simple("Background saving started");
}
void lastsave(call& c) { c.out.integer(c.srv.saves.last_time.load()); }

constexpr command kCommands[] = {
    {"save", 1, admin | no_multi, no_keys, save},
    {"bgsave", -1, admin | no_multi, no_keys, bgsave},
    {"lastsave", 1, fast, no_keys, lastsave},
};

}  // namespace

std::span<const command> snapshot_commands() { return kCommands; }

}  // namespace kv
