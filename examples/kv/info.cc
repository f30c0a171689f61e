// INFO: sections of name:value lines, Redis' names where it has the number; the section `gort` is the runtime's.
#include <gort/metrics.h>
#include <gort/this_goroutine.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "command.h"
#include "config.h"
#include "server.h"
#include "session.h"

namespace kv {
namespace {

class section {
 public:
  section(std::string& out, std::string_view name) : out_(out) {
    if (!out.empty()) out += "\r\n";
    out.append("# ").append(name).append("\r\n");
  }
  section& line(std::string_view name, std::string_view value) {
    out_.append(name).append(":").append(value).append("\r\n");
    return *this;
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  section& line(std::string_view name, T value) {
    if constexpr (std::is_floating_point_v<T>) {
      char text[32];
      std::snprintf(text, sizeof text, "%.6f", value);
      return line(name, std::string_view(text));
    } else {
      return line(name, std::string_view(std::to_string(value)));
    }
  }

 private:
  std::string& out_;
};

/// Resident memory, by the kernel's count.
std::size_t resident_bytes() {
  std::size_t pages = 0, all = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%zu %zu", &all, &pages) != 2) pages = 0;
    std::fclose(f);
  }
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::string in_mega(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2fM", static_cast<double>(bytes) / (1 << 20));
  return text;
}

void server_section(call& c, std::string& out) {
  const std::int64_t up = (c.srv.now_ms() - c.srv.started) / 1000;
  section(out, "Server")
      .line("redis_version", "7.0.0")  // what it comes closest to: clients ask
      .line("server_name", "gort-kv")
      .line("redis_mode", "standalone")
      .line("process_id", ::getpid())
      .line("run_id", c.srv.run_id)
      .line("tcp_port", c.srv.config.port)
      .line("uptime_in_seconds", up)
      .line("uptime_in_days", up / 86400)
      .line("server_time_usec", c.srv.now_ms() * 1000);
}

void clients_section(call& c, std::string& out) {
  section(out, "Clients")
      .line("connected_clients", c.srv.clients.size())
      .line("maxclients", c.srv.config.max_clients.load())
      .line("blocked_clients", c.srv.stats.blocked.load());
}

void memory_section(call& c, std::string& out) {
  const std::size_t used = c.srv.keys.bytes(), resident = resident_bytes();
  section(out, "Memory")
      .line("used_memory", used)
      .line("used_memory_human", in_mega(used))
      .line("used_memory_rss", resident)
      .line("used_memory_rss_human", in_mega(resident))
      .line("maxmemory", c.srv.config.max_memory.load())
      .line("maxmemory_policy", name_of(c.srv.config.policy.load()));
}

void persistence_section(call& c, std::string& out) {
  const snapshots& s = c.srv.saves;
  const std::uint64_t changes = c.srv.keys.sum(&shard::changes);
  section(out, "Persistence")
      .line("loading", 0)
      .line("rdb_changes_since_last_save", changes - s.changes_then.load())
      .line("rdb_bgsave_in_progress", s.in_progress())
      .line("rdb_last_save_time", s.last_time.load())
      .line("rdb_last_bgsave_status", s.last_ok.load() ? "ok" : "err")
      .line("rdb_last_bgsave_time_sec", s.last_ms.load() < 0 ? -1 : s.last_ms.load() / 1000)
      .line("snapshot_last_ms", s.last_ms.load())
      .line("snapshot_last_flip_us", s.flip_us.load())
      .line("snapshot_flip_stopped_world", s.stopped_world.load())
      .line("snapshot_keys_written", s.keys_written.load())
      .line("snapshot_keys_kept", s.keys_kept.load())
      .line("aof_enabled", 0);
}

void stats_section(call& c, std::string& out) {
  const statistics& s = c.srv.stats;
  section(out, "Stats")
      .line("total_connections_received", s.connections.load())
      .line("total_commands_processed", s.commands.load())
      .line("total_net_input_bytes", s.bytes_in.load())
      .line("total_net_output_bytes", s.bytes_out.load())
      .line("rejected_connections", s.rejected.load())
      .line("expired_keys", c.srv.keys.sum(&shard::expired))
      .line("evicted_keys", s.evicted.load())
      .line("keyspace_hits", c.srv.keys.sum(&shard::hits))
      .line("keyspace_misses", c.srv.keys.sum(&shard::misses))
      .line("total_error_replies", s.errors.load())
      .line("protocol_errors", s.protocol_errors.load())
      .line("slow_clients_closed", s.slow_clients.load())
      .line("client_sweeps", s.client_sweeps.load());
}

void cpu_section(call&, std::string& out) {
  rusage u;
  ::getrusage(RUSAGE_SELF, &u);
  const auto seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  section(out, "CPU")
      .line("used_cpu_sys", seconds(u.ru_stime))
      .line("used_cpu_user", seconds(u.ru_utime));
}

void gort_section(call& c, std::string& out) {
  const auto number = [](std::string_view name) {
    const auto v = gort::metrics::read(name);
    const auto* n = std::get_if<std::uint64_t>(&v);
    return n == nullptr ? 0 : *n;
  };
  const auto stops = gort::metrics::read("/sched/pauses/total/other:seconds");
  const auto* h = std::get_if<gort::metrics::histogram>(&stops);
  const bool any = h != nullptr && h->count() > 0;
  section(out, "Gort")
      .line("maxprocs", gort::num_procs())
      .line("goroutines", number("/sched/goroutines:goroutines"))
      .line("goroutines_created", number("/sched/goroutines-created:goroutines"))
      .line("threads", number("/sched/threads/total:threads"))
      .line("captives", number("/sched/captives:goroutines"))
      .line("hogs", c.srv.hogs.count())
      .line("world_stops", any ? h->count() : 0)
      .line("world_stop_p50_us", any ? h->quantile(0.5) * 1e6 : 0.0)
      .line("world_stop_p99_us", any ? h->quantile(0.99) * 1e6 : 0.0)
      .line("world_stop_max_us", any ? h->max * 1e6 : 0.0);
}

void replication_section(call&, std::string& out) {
  section(out, "Replication").line("role", "master").line("connected_slaves", 0);
}

void keyspace_section(call& c, std::string& out) {
  section s(out, "Keyspace");
  std::size_t expiring = 0;
  c.db.for_each_shard([&](shard& one) { expiring += one.expiring.size(); });
  if (const std::size_t n = c.srv.keys.size(); n > 0) {
    s.line("db0",
           "keys=" + std::to_string(n) + ",expires=" + std::to_string(expiring) + ",avg_ttl=0");
  }
}

void info(call& c) {
  constexpr std::pair<std::string_view, void (*)(call&, std::string&)> all[] = {
      {"server", server_section},    {"clients", clients_section},
      {"memory", memory_section},    {"persistence", persistence_section},
      {"stats", stats_section},      {"replication", replication_section},
      {"cpu", cpu_section},          {"gort", gort_section},
      {"keyspace", keyspace_section}};
  std::string text;
  for (const auto& [name, write] : all) {
    bool wanted = c.size() == 1;
    for (std::size_t i = 1; i < c.size(); ++i) {
      wanted |= c.is(i, name) || c.is(i, "all") || c.is(i, "default") || c.is(i, "everything");
    }
    if (wanted) write(c, text);
  }
  c.out.verbatim(text);
}

constexpr command kCommands[] = {
    {"info", -1, reads | all_keys, no_keys, info},
};

}  // namespace

std::span<const command> info_commands() { return kCommands; }

}  // namespace kv
