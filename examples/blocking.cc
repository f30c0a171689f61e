// A read that blocks in the kernel, beside goroutines that compute.
//
// The reader waits on a pipe inside gort::blocking, which lets its processor go meanwhile: the others run even
// with GORT_MAXPROCS=1, and the last of them writes what the reader waits for. Without gort::blocking a single
// processor would sleep in read(2), and nobody would ever write.
#include <gort/gort.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

int main() {
  return gort::run([] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    gort::task<long> reader = gort::spawn([in = ends[0]] {
      long sum = 0;
      const ssize_t n = gort::blocking([&] { return ::read(in, &sum, sizeof sum); });
      return n == sizeof sum ? sum : -1;
    });
    std::vector<gort::task<long>> workers;
    for (long k = 0; k < 8; ++k) {
      workers.push_back(gort::spawn([k] {
        long sum = 0;
        for (long i = k * 1'000'000; i < (k + 1) * 1'000'000; ++i) sum += i;
        return sum;
      }));
    }
    long total = 0;
    for (auto& w : workers) total += w.get();
    if (::write(ends[1], &total, sizeof total) != sizeof total) return 1;
    const long read = reader.get();
    std::printf("written %ld, read %ld\n", total, read);
    return read == total ? 0 : 1;
  });
}
