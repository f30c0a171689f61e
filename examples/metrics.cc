// Everything that the runtime counts, as Prometheus' text format has it: what a /metrics page prints.
#include <gort/gort.h>
#include <gort/metrics.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

/// gort_sched_pauses_total_gc_seconds for /sched/pauses/total/gc:seconds.
std::string prometheus_name(const gort::metrics::description& d) {
  std::string name = "gort";
  for (const char c : d.name) name += c == '/' || c == '-' || c == ':' ? '_' : c;
  if (d.cumulative && d.kind != gort::metrics::kind::histogram) name += "_total";
  return name;
}

/// A bucket for each fourth bound is plenty: running counts may leave bounds out.
void print(const std::string& name, const gort::metrics::histogram& h) {
  std::uint64_t running = 0;
  for (std::size_t i = 0; i + 1 < h.counts.size(); ++i) {
    running += h.counts[i];
    if (i % 4 == 3) std::printf("%s_bucket{le=\"%.12g\"} %lu\n", name.c_str(), h.bounds[i + 1], running);
  }
  std::printf("%s_bucket{le=\"+Inf\"} %lu\n", name.c_str(), h.count());
  std::printf("%s_sum %.9g\n%s_count %lu\n", name.c_str(), h.sum, name.c_str(), h.count());
}

void print_all() {
  std::vector<gort::metrics::sample> samples;
  for (const auto& d : gort::metrics::describe()) samples.push_back({d.name});
  gort::metrics::read(samples);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& d = gort::metrics::describe()[i];
    const std::string name = prometheus_name(d);
    const bool histogram = d.kind == gort::metrics::kind::histogram;
    std::printf("# HELP %s %.*s\n", name.c_str(), static_cast<int>(d.text.size()), d.text.data());
    std::printf("# TYPE %s %s\n", name.c_str(), histogram ? "histogram" : d.cumulative ? "counter" : "gauge");
    const gort::metrics::value& v = samples[i].value;
    if (const auto* n = std::get_if<std::uint64_t>(&v)) std::printf("%s %lu\n", name.c_str(), *n);
    if (const auto* x = std::get_if<double>(&v)) std::printf("%s %.9g\n", name.c_str(), *x);
    if (const auto* h = std::get_if<gort::metrics::histogram>(&v)) print(name, *h);
  }
}

}  // namespace

int main() {
  return gort::run([] {
    gort::semaphore done(0);
    for (int i = 0; i < 100; ++i) gort::go([&] { done.release(); });
    for (int i = 0; i < 100; ++i) done.acquire();
    print_all();
    return 0;
  });
}
