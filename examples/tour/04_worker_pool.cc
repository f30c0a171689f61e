// A worker pool: jobs in, results out, as many workers as there are processors, the first error ends it all.
#include <gort/gort.h>

#include <cstdint>
#include <cstdio>
#include <stdexcept>

namespace {

struct job {
  std::uint64_t first, last;
};

std::uint64_t count_primes(job j) {
  if (j.first >= j.last) throw std::invalid_argument("an empty job");
  std::uint64_t n = 0;
  for (std::uint64_t i = j.first; i < j.last; ++i) {
    bool prime = i > 1;
    for (std::uint64_t d = 2; d * d <= i && prime; ++d) prime = i % d != 0;
    n += prime;
  }
  return n;
}

}  // namespace

int main() {
  return gort::run([] {
    gort::chan<job> jobs(0);  // unbuffered: a job is handed over when a worker takes it
    gort::chan<std::uint64_t> results(64);
    gort::wait_group workers;
    gort::scope all;  // below what its goroutines use: it ends before that does
    for (int i = 0; i < gort::num_procs(); ++i) {
      workers.add();
      all.go([&] {
        for (job j : jobs) results.send(count_primes(j));
        workers.done();
      });
    }
    all.go([=] {
      gort::closing done(jobs);
      for (std::uint64_t i = 0; i < 100; ++i) jobs.send({i * 1000, (i + 1) * 1000});
    });
    all.go([&] {
      gort::closing done(results);  // also when a worker has thrown, and this wait is cancelled
      workers.wait();
    });
    std::uint64_t primes = 0;
    for (std::uint64_t n : results) primes += n;
    all.join();
    std::printf("%llu primes below 100000\n", static_cast<unsigned long long>(primes));
    return 0;
  });
}
// prints:
// 9592 primes below 100000
