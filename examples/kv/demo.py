#!/usr/bin/env python3
"""The demo: gort-kv under redis-benchmark's load. `make demo` builds the server and runs this.

    examples/kv/demo.py build/release/examples/gort-kv

Each row of the table is one run of redis-benchmark (50 connections, half SET, half GET) of about a second; the numbers
of the runtime are from INFO gort in the middle of it. Ends within a minute by itself: exit status 0 if all went well, 77 without
redis-benchmark.
"""
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS = 50
DEADLINE = 55  # seconds for everything
HOGS = 8


class Redis:
    """A connection that speaks just enough of the protocol."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.f = self.s.makefile("rb")

    def __call__(self, line):
        words = line.split()
        self.s.sendall(("*%d\r\n" % len(words) + "".join("$%d\r\n%s\r\n" % (len(w), w) for w in words)).encode())
        head = self.f.readline().decode().rstrip("\r\n")
        if head.startswith("-"):
            raise RuntimeError(f"{line}: {head[1:]}")
        if head.startswith("$"):
            return self.f.read(int(head[1:]) + 2)[:-2].decode(errors="replace")
        return head[1:]

    def info(self, section):
        pairs = (l.split(":", 1) for l in self(f"info {section}").split("\r\n") if ":" in l)
        return dict(pairs)


class Demo:
    def __init__(self, port, start):
        self.port, self.start = port, start
        self.redis = Redis(port)
        self.rate = 20000.0
        self.requests = 0
        self.failed = []
        self.runtime = {}

    def load(self, seconds=1.0):
        """One run of redis-benchmark of about that long: (requests per second, p50, p99 in ms)."""
        n = max(CLIENTS * 4, int(self.rate * seconds / 2))
        command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(self.port), "-c", str(CLIENTS), "-n", str(n),
                   "-r", "100000", "-d", "64", "-t", "set,get", "--csv"]
        left = max(5.0, DEADLINE - (time.monotonic() - self.start))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            try:
                time.sleep(0.4 * seconds)
                self.runtime = self.redis.info("gort")  # in the middle
                out, err = run.communicate(timeout=left)
            finally:
                run.kill()
        rows = [r for r in csv.DictReader(out.splitlines()) if r.get("rps")]
        if run.returncode != 0 or len(rows) != 2:
            self.failed.append(f"redis-benchmark: {err.strip() or out.strip()}")
            return None
        self.requests += 2 * n
        took = sum(n / float(r["rps"]) for r in rows)
        self.rate = 2 * n / took
        worst = lambda name: max(float(r[name]) for r in rows)
        return self.rate, worst("p50_latency_ms"), worst("p99_latency_ms")

    def row(self, what, seconds=1.0):
        numbers = self.load(seconds)
        if numbers is None:
            return None
        g = self.runtime
        print(f"  {time.monotonic() - self.start:5.1f} s  {what:<34} {numbers[0]:>9,.0f} {numbers[1]:>8.2f} {numbers[2]:>8.2f}"
              f" {g['goroutines']:>6} {g['threads']:>5} {g['captives']:>5} {g['maxprocs']:>3} {g['world_stops']:>6}"
              f" {float(g['world_stop_max_us']):>7.0f}", flush=True)
        return numbers

    def rows(self, what, n, seconds=1.0):
        all_ = [r for r in (self.row(what, seconds) for _ in range(n)) if r]
        return sorted(r[2] for r in all_)[len(all_) // 2] if all_ else float("nan")

    def in_the_middle(self, what, action):
        """The action, a third of a second into a row's load; what it says stands under the row."""
        said = []

        def act():
            time.sleep(0.35)
            try:
                said.append(action(Redis(self.port)))
            except (RuntimeError, OSError) as e:
                self.failed.append(str(e))

        t = threading.Thread(target=act)
        t.start()
        self.row(what)
        t.join()
        for s in said:
            print(f"           {'':<2}{s}", flush=True)

    def run(self):
        print(f"""
{CLIENTS} clients of redis-benchmark, half SET, half GET; latencies are what they saw, in milliseconds.
captives: goroutines that computed past their time slice without a call, stopped in place to let others run.
stops: how often the world was stopped so far; max: the longest of them, in microseconds.

  {'time':>7}  {'':<34} {'requests':>9} {'p50':>8} {'p99':>8} {'gorou-':>6} {'thr-':>5} {'cap-':>5} {'P':>3} {'stops':>6} {'max us':>7}
  {'':>7}  {'':<34} {'per s':>9} {'ms':>8} {'ms':>8} {'tines':>6} {'eads':>5} {'tives':>5}""")
        self.load(0.3)
        procs = self.redis.info("gort")["maxprocs"]
        before = self.rows("plain load", 3)

        self.redis("config set maxprocs 1")
        self.row("on one processor")
        self.redis("config set maxprocs 4")
        self.row("on four")
        self.redis(f"config set maxprocs {procs}")
        self.row(f"and {procs} again")

        self.in_the_middle("all stacks are taken", self.stacks)
        self.in_the_middle("the world is stopped 50 times", self.stops)
        self.in_the_middle("a snapshot is written", self.snapshot)

        self.redis(f"debug hog {HOGS}")
        self.rate /= 4
        during = self.rows(f"{HOGS} endless loops in the server", 3)
        self.redis("debug hog 0")
        after = self.rows("the loops have ended", 3)
        return before, during, after

    @staticmethod
    def stacks(r):
        start = time.monotonic()
        text = r("debug stacks")
        n = sum(1 for l in text.split("\n") if l.startswith("goroutine "))
        return f"DEBUG STACKS: {n} different stacks, {len(text) // 1000} kB of text in {(time.monotonic() - start) * 1000:.0f} ms"

    @staticmethod
    def stops(r):
        us = sorted(int(r("debug stopworld")) for _ in range(50))
        return f"DEBUG STOPWORLD: all goroutines stood still after {us[25]} us (median), {us[-1]} us at most"

    @staticmethod
    def snapshot(r):
        r("bgsave")
        deadline = time.monotonic() + 15
        while (p := r.info("persistence"))["rdb_bgsave_in_progress"] == "1":
            if time.monotonic() > deadline:
                raise RuntimeError("BGSAVE does not end")
            time.sleep(0.02)
        if p["rdb_last_bgsave_status"] != "ok":
            raise RuntimeError("BGSAVE failed")
        return (f"BGSAVE: {p['snapshot_keys_written']} keys in {p['snapshot_last_ms']} ms while serving; "
                f"the old values of {p['snapshot_keys_kept']} that were changed meanwhile were kept for it")


def main():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        print(__doc__, file=sys.stderr)
        return 2
    if shutil.which("redis-benchmark") is None:
        print("redis-benchmark is not installed (Debian: redis-tools): skipped")
        return 77
    binary = sys.argv[1]
    start = time.monotonic()
    dir_ = tempfile.mkdtemp(prefix="gort-demo.")
    server = None
    try:
        print(f"\n$ {binary} --port 0")
        server = subprocess.Popen([binary, "--port", "0", "--dir", dir_], stdout=subprocess.PIPE, text=True)
        ready = server.stdout.readline().strip()
        print(ready, flush=True)
        demo = Demo(int(ready.split(":")[2].split(",")[0]), start)
        before, during, after = demo.run()
        stats, gort = demo.redis.info("stats"), demo.redis.info("gort")
        if stats["total_error_replies"] != "0":
            demo.failed.append(f"{stats['total_error_replies']} requests were answered with an error")
        server.send_signal(signal.SIGTERM)
        if server.wait(timeout=10) != 0:
            demo.failed.append(f"the server ended with status {server.returncode}")
        print("\n" + server.stdout.read().strip())
        print(f"""
Summary
  requests              {demo.requests:,} by redis-benchmark, {stats['total_error_replies']} failed
  p99 of a request      {before:.2f} ms before, {during:.2f} ms beside {HOGS} endless loops, {after:.2f} ms after
  stops of the world    {gort['world_stops']}: half of them within {float(gort['world_stop_p50_us']):.0f} us, the longest {float(gort['world_stop_max_us']):.0f} us
  time                  {time.monotonic() - start:.0f} s
""")
        if demo.failed:
            print("FAILED: " + "; ".join(demo.failed))
            return 1
        print(f"OK: {demo.requests:,} requests answered while processors came and went, the world stood still "
              f"{gort['world_stops']} times, and {HOGS} endless loops ran inside the server.")
        print(f"""
What now:
  {binary}            then, beside it: redis-cli; redis-benchmark -q; try DEBUG HOG 8, DEBUG STACKS, INFO gort
  examples/kv/main.cc, docs/kv.md                 the program, how it is made
  README.md, examples/tour                        the library, in ten small programs
  scripts/demo_wc                                 a smaller demo: a goroutine for each file of a directory
  make test, make bench                           the tests; measurements beside Go""")
        return 0
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
        print(f"FAILED: {e}")
        return 1
    finally:
        if server is not None and server.poll() is None:
            server.kill()
            server.wait()
        shutil.rmtree(dir_, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
