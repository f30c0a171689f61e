// Boost.Fiber's side of `make bench`, each row in the best configuration that was found for it
// (kRows, at the end; the line that is printed names it). --config tries another, in words with
// commas between:
//   slab, pooled_stack, default_stack   bench::SlabStack; its pool (one thread only); its default
//   shared_work, work_stealing          the algorithm on several threads; on one it is round_robin
//   suspend, spin                       what a scheduler does when nothing is ready
//   post, dispatch                      a new fiber is queued, or runs at once
// bench/README.md says what each row asks for.
#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <boost/fiber/all.hpp>
#include <boost/version.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "harness.h"
#include "slab_stack.h"

namespace {

using bench::check;
using bench::Memory;
using bench::Options;
using bench::Result;
using bench::SlabStack;
using bench::Timed;
namespace fibers = boost::fibers;
using fibers::launch;

// ---- configuration ----------------------------------------------------------------------------

/// Runs f as the main fiber of o.procs scheduling threads.
template <class F>
void with_schedulers(const Options& o, F&& f) {
  if (o.procs == 1) return f();
  const bool suspend = o.has("suspend");
  const auto use_algorithm = [&] {
    if (o.has("work_stealing")) {
      fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(
          static_cast<std::uint32_t>(o.procs), suspend);
    } else {
      fibers::use_scheduling_algorithm<fibers::algo::shared_work>(suspend);
    }
  };
  fibers::mutex mutex;
  fibers::condition_variable changed;
  bool done = false;
  std::vector<std::thread> workers;
  for (int i = 1; i < o.procs; ++i) {
    workers.emplace_back([&] {
      use_algorithm();
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return done; });
    });
  }
  use_algorithm();  // after the threads' start: work_stealing's constructor waits for all of them
  f();
  {
    const std::scoped_lock lock(mutex);
    done = true;
  }
  changed.notify_all();
  for (std::thread& t : workers) t.join();
}

template <class F>
void with_stacks(const Options& o, F&& f) {
  if (o.has("default_stack")) {
    f(fibers::fixedsize_stack());
  } else if (o.has("pooled_stack")) {
    check(o.procs == 1, "pooled_fixedsize_stack may not be shared by threads");
    f(fibers::pooled_fixedsize_stack());
  } else {
    f(SlabStack(o.procs > 1));
  }
}

launch policy(const Options& o) { return o.has("dispatch") ? launch::dispatch : launch::post; }

/// The usual row: body(stacks, n) is measured as the main fiber.
template <class Body>
Result measured(const Options& o, std::uint64_t first, Body body) {
  Result r;
  with_schedulers(o, [&] {
    with_stacks(o, [&](auto stacks) {
      r = bench::measure(o, first, [&](std::uint64_t n) { return body(stacks, n); });
    });
  });
  return r;
}

// ---- switch -------------------------------------------------------------------------------------

void count_switches(boost::context::detail::transfer_t from) {
  for (;;) {
    ++*static_cast<std::uint64_t*>(from.data);
    from = boost::context::detail::jump_fcontext(from.fctx, from.data);
  }
}

/// Boost.Context's innermost switch, without the layers of fiber and callcc above it.
Result raw_switch(const Options& o) {
  constexpr std::size_t kStack = std::size_t{64} << 10;
  const auto stack = std::make_unique<char[]>(kStack);
  auto peer = boost::context::detail::make_fcontext(stack.get() + kStack, kStack, count_switches);
  return bench::measure(o, 1000, [&](std::uint64_t n) {
    std::uint64_t count = 0;
    const std::uint64_t trips = (n + 1) / 2;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < trips; ++i)
      peer = boost::context::detail::jump_fcontext(peer, &count).fctx;
    const double took = bench::now() - start;
    check(count == trips, "every switch arrived");
    return Timed{2 * trips, took};
  });
}

// ---- yield --------------------------------------------------------------------------------------

Result yield(const Options& o, std::uint64_t count) {
  return measured(o, 10 * count, [&o, count](auto stacks, std::uint64_t n) {
    const std::uint64_t each = (n + count - 1) / count;
    const bool alone = o.procs == 1;  // then plain shared words are safe
    std::atomic<std::uint64_t> yields = 0;
    std::uint64_t last = count;
    std::uint64_t turns = 0;
    std::vector<fibers::fiber> all;
    all.reserve(count);
    const double start = bench::now();
    for (std::uint64_t id = 0; id < count; ++id) {
      all.emplace_back(launch::post, std::allocator_arg, stacks, [&, id] {
        for (std::uint64_t i = 0; i < each; ++i) {
          if (alone && last != id) last = id, ++turns;
          boost::this_fiber::yield();
        }
        yields += each;
      });
    }
    for (fibers::fiber& f : all) f.join();
    const double took = bench::now() - start;
    check(yields == each * count, "every yield was made");
    check(!alone || turns >= each * count * 9 / 10, "a yield lets another fiber run");
    return Timed{each * count, took};
  });
}

Result yield2(const Options& o) { return yield(o, 2); }
Result yield1000(const Options& o) { return yield(o, 1000); }

// ---- spawn --------------------------------------------------------------------------------------

Result spawn_join_one(const Options& o) {
  const launch how = policy(o);
  return measured(o, 100, [how](auto stacks, std::uint64_t n) {
    std::uint64_t ran = 0;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i)
      fibers::fiber(how, std::allocator_arg, stacks, [&] { ++ran; }).join();
    const double took = bench::now() - start;
    check(ran == n, "every fiber ran once");
    return Timed{n, took};
  });
}

Result spawn_batch1000(const Options& o) {
  constexpr std::uint64_t kBatch = 1000;
  const launch how = policy(o);
  return measured(o, kBatch, [how](auto stacks, std::uint64_t n) {
    const std::uint64_t batches = (n + kBatch - 1) / kBatch;
    std::atomic<std::uint64_t> ran = 0;
    std::vector<fibers::fiber> batch(kBatch);
    const double start = bench::now();
    for (std::uint64_t b = 0; b < batches; ++b) {
      for (fibers::fiber& f : batch) {
        f = fibers::fiber(how, std::allocator_arg, stacks,
                          [&] { ran.fetch_add(1, std::memory_order_relaxed); });
      }
      for (fibers::fiber& f : batch) f.join();
    }
    const double took = bench::now() - start;
    check(ran == batches * kBatch, "every fiber ran once");
    return Timed{batches * kBatch, took};
  });
}

/// Nobody joins: the last of 10,000 tells.
Result spawn10000(const Options& o) {
  constexpr std::uint64_t kBatch = 10000;
  const launch how = policy(o);
  return measured(o, kBatch, [how](auto stacks, std::uint64_t n) {
    const std::uint64_t batches = (n + kBatch - 1) / kBatch;
    std::uint64_t told = 0;
    const double start = bench::now();
    for (std::uint64_t b = 0; b < batches; ++b) {
      std::atomic<std::uint64_t> left = kBatch;
      fibers::promise<void> last;
      auto ended = last.get_future();
      for (std::uint64_t i = 0; i < kBatch; ++i) {
        fibers::fiber(how, std::allocator_arg, stacks, [&] {
          if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) ++told, last.set_value();
        }).detach();
      }
      ended.get();
    }
    const double took = bench::now() - start;
    check(told == batches, "the last fiber of each batch told once");
    return Timed{batches * kBatch, took};
  });
}

// ---- skynet -------------------------------------------------------------------------------------

template <class Stacks>
std::uint64_t skynet(Stacks& stacks, launch how, std::uint64_t number, std::uint64_t leaves) {
  if (leaves == 1) return number;
  std::uint64_t results[10];
  fibers::fiber children[10];
  for (std::uint64_t i = 0; i < 10; ++i) {
    children[i] = fibers::fiber(how, std::allocator_arg, stacks, [&, i] {
      results[i] = skynet(stacks, how, number + i * (leaves / 10), leaves / 10);
    });
  }
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < 10; ++i) {
    children[i].join();
    sum += results[i];
  }
  return sum;
}

Result skynet_row(const Options& o) {
  const launch how = policy(o);
  Result r = measured(o, 1, [how](auto stacks, std::uint64_t n) {
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) {
      check(skynet(stacks, how, 0, 1'000'000) == 499'999'500'000, "the sum of the leaves");
    }
    return Timed{n, bench::now() - start};
  });
  r.value /= 1e6;
  r.unit = "ms";
  return r;
}

// ---- parked -------------------------------------------------------------------------------------

Result parked(const Options& o, std::uint64_t count) {
  const std::uint64_t n = o.n != 0 ? o.n : count;
  Result r;
  with_schedulers(o, [&] {
    with_stacks(o, [&](auto stacks) {
      fibers::unbuffered_channel<int> gate;
      std::atomic<std::uint64_t> waiting = 0;
      std::atomic<std::uint64_t> passed = 0;
      boost::this_fiber::yield();  // the schedulers' own memory comes before the first sample
      const Memory before = bench::memory();
      const double start = bench::now();
      for (std::uint64_t i = 0; i < n; ++i) {
        fibers::fiber(launch::post, std::allocator_arg, stacks, [&] {
          waiting.fetch_add(1, std::memory_order_relaxed);
          int nothing;
          if (gate.pop(nothing) == fibers::channel_op_status::closed)
            passed.fetch_add(1, std::memory_order_relaxed);
        }).detach();
      }
      while (waiting != n) boost::this_fiber::yield();
      const double created = bench::now();
      const Memory after = bench::memory();
      const double release = bench::now();
      gate.close();
      while (passed != n) boost::this_fiber::yield();
      r = bench::parked_result(n, before, after, created - start, bench::now() - release);
    });
  });
  return r;
}

Result parked100k(const Options& o) { return parked(o, 100'000); }
Result parked1m(const Options& o) { return parked(o, 1'000'000); }

// ---- idle ---------------------------------------------------------------------------------------

Result idle_cpu(const Options& o) {
  Result r;
  with_schedulers(o, [&] {
    std::vector<fibers::fiber> burst;
    for (int i = 0; i < 10000; ++i)
      burst.emplace_back(std::allocator_arg, SlabStack(true), [] { boost::this_fiber::yield(); });
    for (fibers::fiber& f : burst) f.join();
    // The main fiber waits in the scheduler, as the rest of the program does; a thread looks on.
    fibers::promise<Result> measured_idle;
    auto result = measured_idle.get_future();
    std::thread observer([&] {
      measured_idle.set_value(bench::idle_result(0.2, o.n != 0 ? static_cast<double>(o.n) : 3));
    });
    r = result.get();
    observer.join();
  });
  return r;
}

// ---- ping-pong ----------------------------------------------------------------------------------

using Channel = fibers::unbuffered_channel<std::uint64_t>;

void echo(Channel& in, Channel& out) {
  std::uint64_t v = 0;
  while (in.pop(v) == fibers::channel_op_status::success) out.push(v + 1);
}

Timed trips(Channel& ping, Channel& pong, std::uint64_t n) {
  const double start = bench::now();
  for (std::uint64_t i = 0; i < n; ++i) {
    ping.push(i);
    check(pong.value_pop() == i + 1, "each trip is answered once");
  }
  const double took = bench::now() - start;
  ping.close();
  return {n, took};
}

/// Boost 1.74 has no semaphore; its unbuffered channel is the fastest pair of waits that it has.
Result pingpong_sema(const Options& o) {
  return measured(o, 100, [](auto stacks, std::uint64_t n) {
    Channel ping, pong;
    fibers::fiber partner(std::allocator_arg, stacks, [&] { echo(ping, pong); });
    const Timed t = trips(ping, pong, n);
    partner.join();
    return t;
  });
}

/// A fiber cannot be locked to a thread; a thread of its own, with its own scheduler, is the same
/// thing. Both schedulers sleep when they have nothing to do, as the others' threads do here.
/// `spin`: they do not.
Result pingpong_locked(const Options& o) {
  const bool spin = o.has("spin");
  if (spin) fibers::use_scheduling_algorithm<fibers::algo::shared_work>(false);
  return bench::measure(o, 100, [spin](std::uint64_t n) {
    Channel ping, pong;
    std::thread partner([&] {
      if (spin) fibers::use_scheduling_algorithm<fibers::algo::shared_work>(false);
      echo(ping, pong);
    });
    const Timed t = trips(ping, pong, n);
    partner.join();
    return t;
  });
}

// ---- mutex, condition_variable --------------------------------------------------------------------

/// n operations, shared by procs * parallelism fibers: body(how_many) in each.
template <class Stacks, class Body>
Timed parallel(const Options& o, Stacks stacks, int parallelism, std::uint64_t n, Body body) {
  const auto count = static_cast<std::uint64_t>(o.procs * parallelism);
  const std::uint64_t each = (n + count - 1) / count;
  std::vector<fibers::fiber> all;
  const double start = bench::now();
  for (std::uint64_t i = 0; i < count; ++i) {
    all.emplace_back(launch::post, std::allocator_arg, stacks, [&body, each] { body(each); });
  }
  for (fibers::fiber& f : all) f.join();
  return Timed{each * count, bench::now() - start};
}

Result mutex_uncontended(const Options& o) {
  return measured(o, 1000, [&o](auto stacks, std::uint64_t n) {
    return parallel(o, stacks, 1, n, [](std::uint64_t each) {
      struct alignas(128) Padded {
        fibers::mutex m;
      };
      const auto p = std::make_unique<Padded>();
      for (std::uint64_t i = 0; i < each; ++i) {
        p->m.lock();
        p->m.unlock();
        p->m.lock();
        p->m.unlock();
      }
    });
  });
}

template <int kParallelism, int kWork>
Result mutex(const Options& o) {
  return measured(o, 1000, [&o](auto stacks, std::uint64_t n) {
    fibers::mutex m;
    std::uint64_t inside = 0;
    const Timed t = parallel(o, stacks, kParallelism, n, [&](std::uint64_t each) {
      for (std::uint64_t i = 0; i < each; ++i) {
        m.lock();
        ++inside;
        m.unlock();
        std::uint64_t x = 1;
        for (int k = 0; k < kWork; ++k) x = x * 2862933555777941757u + 3037000493u;
        asm volatile("" : : "r"(x));
      }
    });
    check(inside == t.ops, "one at a time");
    return t;
  });
}

template <int kWaiters>
Result cond(const Options& o) {
  return measured(o, 100, [](auto stacks, std::uint64_t n) {
    fibers::mutex m;
    fibers::condition_variable changed;
    int id = 0;
    std::vector<fibers::fiber> all;
    const double start = bench::now();
    for (int r = 0; r < kWaiters + 1; ++r) {
      all.emplace_back(launch::post, std::allocator_arg, stacks, [&] {
        for (std::uint64_t i = 0; i < n; ++i) {
          std::unique_lock hold(m);
          if (id == -1) return;
          if (++id == kWaiters + 1) {
            id = 0;
            changed.notify_all();
          } else {
            changed.wait(hold);
          }
        }
        std::scoped_lock hold(m);
        id = -1;
        changed.notify_all();
      });
    }
    for (fibers::fiber& f : all) f.join();
    return Timed{n, bench::now() - start};
  });
}

// ---- channels -----------------------------------------------------------------------------------------

constexpr std::uint64_t kCalls = 1000;  // CallsPerSched, as in the others' rows

template <class T>
T taken(auto& channel) {
  T value{};
  check(channel.pop(value) == fibers::channel_op_status::success, "there is something");
  return value;
}
void put(auto& channel, auto value) {
  check(channel.push(value) == fibers::channel_op_status::success, "it is open");
}

/// Its channels have room for one less than their size, which is a power of two.
Result chan_stream1024(const Options& o) {
  return measured(o, 1024, [](auto stacks, std::uint64_t n) {
    fibers::buffered_channel<std::uint64_t> c(1024);
    const double start = bench::now();
    fibers::fiber producer(launch::post, std::allocator_arg, stacks, [&] {
      for (std::uint64_t i = 0; i < n; ++i) put(c, i);
      c.close();
    });
    std::uint64_t expected = 0;
    bool in_order = true;
    for (std::uint64_t v : c) in_order &= v == expected++;
    const double took = bench::now() - start;
    producer.join();
    check(in_order && expected == n, "all came, in order");
    return Timed{n, took};
  });
}

void fill_and_drain(fibers::buffered_channel<int>& c, std::uint64_t n) {
  for (std::uint64_t done = 0; done < n; done += 100) {
    for (int i = 0; i < 100; ++i) put(c, 0);
    for (int i = 0; i < 100; ++i) taken<int>(c);
  }
}

Result chan_uncontended(const Options& o) {
  return measured(o, 1000, [&o](auto stacks, std::uint64_t n) {
    return parallel(o, stacks, 1, n, [](std::uint64_t each) {
      fibers::buffered_channel<int> c(128);
      fill_and_drain(c, each);
    });
  });
}

Result chan_contended(const Options& o) {
  return measured(o, 1000, [&o](auto stacks, std::uint64_t n) {
    fibers::buffered_channel<int> c(o.procs == 1 ? 128 : 256);
    return parallel(o, stacks, 1, n, [&c](std::uint64_t each) { fill_and_drain(c, each); });
  });
}

Result chan_sync(const Options& o) {
  return measured(o, 2 * kCalls, [](auto stacks, std::uint64_t n) {
    const std::uint64_t meetings = (n + kCalls - 1) / kCalls * kCalls / 2;
    fibers::unbuffered_channel<int> c;
    const double start = bench::now();
    fibers::fiber a(launch::post, std::allocator_arg, stacks, [&] {
      for (std::uint64_t i = 0; i < meetings; ++i) taken<int>(c), put(c, 0);
    });
    fibers::fiber b(launch::post, std::allocator_arg, stacks, [&] {
      for (std::uint64_t i = 0; i < meetings; ++i) put(c, 0), taken<int>(c);
    });
    a.join(), b.join();
    return Timed{meetings * 2, bench::now() - start};
  });
}

template <class Channel, std::size_t... kSize>
Result prodcons(const Options& o) {
  const int procs = o.procs;
  return measured(o, kCalls * static_cast<std::uint64_t>(procs), [procs](auto stacks, std::uint64_t n) {
    std::atomic<std::int64_t> left = static_cast<std::int64_t>((n + kCalls - 1) / kCalls);
    const std::uint64_t items = static_cast<std::uint64_t>(left.load()) * kCalls;
    Channel c(kSize...);
    std::atomic<std::uint64_t> received = 0;
    std::vector<fibers::fiber> all;
    const double start = bench::now();
    for (int p = 0; p < procs; ++p) {
      all.emplace_back(launch::post, std::allocator_arg, stacks, [&] {
        while (left.fetch_sub(1) > 0) {
          for (std::uint64_t i = 0; i < kCalls; ++i) put(c, 1);
        }
        put(c, 0);
      });
      all.emplace_back(launch::post, std::allocator_arg, stacks, [&] {
        std::uint64_t got = 0;
        while (taken<int>(c) != 0) ++got;
        received += got;
      });
    }
    for (fibers::fiber& f : all) f.join();
    const double took = bench::now() - start;
    check(received == items, "what was sent was received");
    return Timed{items, took};
  });
}

/// Runs a row in its best configuration, unless the command line names one.
template <Result (*kRow)(const Options&)>
Result best(const Options& asked, const char* config) {
  Options o = asked;
  if (o.config.empty()) o.config = config;
  Result r = kRow(o);
  r.notes.emplace_back("config", o.config);
  return r;
}

constexpr const char* kSync = "slab,shared_work,suspend,post";

constexpr bench::Row kRows[] = {
    {"switch", [](const Options& o) { return best<raw_switch>(o, "jump_fcontext"); }},
    {"yield2", [](const Options& o) { return best<yield2>(o, "slab,shared_work,suspend"); }},
    {"yield1000",
     [](const Options& o) { return best<yield1000>(o, "slab,work_stealing,suspend"); }},
    {"spawn_join_one",
     [](const Options& o) { return best<spawn_join_one>(o, "slab,shared_work,suspend,dispatch"); }},
    {"spawn_batch1000",
     [](const Options& o) { return best<spawn_batch1000>(o, "slab,shared_work,suspend,post"); }},
    {"spawn10000",
     [](const Options& o) { return best<spawn10000>(o, "slab,shared_work,suspend,post"); }},
    {"skynet", [](const Options& o) { return best<skynet_row>(o, "slab,shared_work,spin,post"); }},
    {"parked100k",
     [](const Options& o) { return best<parked100k>(o, "slab,shared_work,suspend,post"); }},
    {"parked1m",
     [](const Options& o) { return best<parked1m>(o, "slab,shared_work,suspend,post"); }},
    {"idle_cpu",
     [](const Options& o) { return best<idle_cpu>(o, "slab,shared_work,suspend,post"); }},
    {"pingpong_sema",
     [](const Options& o) { return best<pingpong_sema>(o, "slab,shared_work,suspend,post"); }},
    {"pingpong_locked",
     [](const Options& o) { return best<pingpong_locked>(o, "round_robin,suspend"); }},
    {"pingpong_chan",
     [](const Options& o) { return best<pingpong_sema>(o, "slab,shared_work,suspend,post"); }},
    {"chan_stream1024", [](const Options& o) { return best<chan_stream1024>(o, kSync); }},
    {"chan_uncontended", [](const Options& o) { return best<chan_uncontended>(o, kSync); }},
    {"chan_contended", [](const Options& o) { return best<chan_contended>(o, kSync); }},
    {"chan_sync", [](const Options& o) { return best<chan_sync>(o, kSync); }},
    {"chan_prodcons0",
     [](const Options& o) { return best<prodcons<fibers::unbuffered_channel<int>>>(o, kSync); }},
    {"chan_prodcons10",
     [](const Options& o) { return best<prodcons<fibers::buffered_channel<int>, 16>>(o, kSync); }},
    {"chan_prodcons100",
     [](const Options& o) { return best<prodcons<fibers::buffered_channel<int>, 128>>(o, kSync); }},
    {"mutex_uncontended", [](const Options& o) { return best<mutex_uncontended>(o, kSync); }},
    {"mutex", [](const Options& o) { return best<mutex<1, 0>>(o, kSync); }},
    {"mutex_slack", [](const Options& o) { return best<mutex<10, 0>>(o, kSync); }},
    {"mutex_work", [](const Options& o) { return best<mutex<1, 25>>(o, kSync); }},
    {"mutex_work_slack", [](const Options& o) { return best<mutex<10, 25>>(o, kSync); }},
    {"cond1", [](const Options& o) { return best<cond<1>>(o, kSync); }},
    {"cond4", [](const Options& o) { return best<cond<4>>(o, kSync); }},
    {"cond32", [](const Options& o) { return best<cond<32>>(o, kSync); }},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::contender_main(
      argc, argv, "boost",
      R"("version":")" BOOST_LIB_VERSION R"(","compiler":"C++ )" __VERSION__ R"(")", kRows);
}
