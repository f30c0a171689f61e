package main

// Rows that stop the world and change the number of Ps. What stands on them is in bench/README.md.

import (
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"time"
)

// stopWorld stops and starts the world with nothing in between. Of Go's public calls that stop it, this is the
// only one that does no more: Stack looks at no goroutine when it has no buffer. With a buffer of 64 bytes it takes
// four times as long on one processor; ReadMemStats, which adds up statistics under the stop, three times;
// GOMAXPROCS and the goroutine profile have work of their own, too. SetGCPercent, ReadGCStats and metrics.Read do
// not stop the world (Go 1.26).
func stopWorld() { runtime.Stack(nil, true) }

// spinners are goroutines that compute without a call; only a signal stops them.
type spinners struct {
	stop atomic.Bool
	done chan struct{}
	n    int
}

func startSpinners(n int) *spinners {
	s := &spinners{done: make(chan struct{}), n: n}
	var began atomic.Int64
	for range n {
		go func() {
			began.Add(1)
			for !s.stop.Load() { // inlined: one load and a jump
			}
			s.done <- struct{}{}
		}()
	}
	for began.Load() != int64(n) {
		runtime.Gosched()
	}
	return s
}

func (s *spinners) end() {
	s.stop.Store(true)
	for range s.n {
		<-s.done
	}
}

// ---- distributions ------------------------------------------------------------------------------

// addQuantiles needs sorted samples.
func addQuantiles(r *result, prefix string, sorted []float64) {
	at := func(q float64) float64 { return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)] }
	r.Extra[prefix+"p10_ns"] = at(0.10)
	r.Extra[prefix+"p50_ns"] = at(0.50)
	r.Extra[prefix+"p90_ns"] = at(0.90)
	r.Extra[prefix+"p99_ns"] = at(0.99)
	r.Extra[prefix+"max_ns"] = sorted[len(sorted)-1]
}

// stoppingTimes is the runtime's own histogram: from the decision to stop until the last P has stopped, without the
// wait for other stoppers. The collector's stops are in another one.
func stoppingTimes() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/sched/pauses/stopping/other:seconds"}}
	metrics.Read(sample)
	check(sample[0].Value.Kind() == metrics.KindFloat64Histogram, "this Go has the histogram of stopping times")
	h := sample[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: h.Buckets}
}

// stoppingSince spreads the samples added since `before` evenly over their buckets (a quarter of a power of two
// wide), in nanoseconds and sorted.
func stoppingSince(before *metrics.Float64Histogram) []float64 {
	after := stoppingTimes()
	var all []float64
	for i, count := range after.Counts {
		added := count - before.Counts[i]
		low, high := after.Buckets[i]*1e9, after.Buckets[i+1]*1e9
		if math.IsInf(low, 0) || math.IsInf(high, 0) {
			check(added == 0, "no stopping time is beyond the histogram")
		}
		for j := range added {
			all = append(all, low+(high-low)*(float64(j)+0.5)/float64(added))
		}
	}
	return all
}

// ---- rows ---------------------------------------------------------------------------------------

func stopIdle(o options) result {
	return measure(o, 100, func(n uint64) timed {
		before := stoppingTimes()
		start := time.Now()
		for range n {
			stopWorld()
		}
		took := time.Since(start)
		check(uint64(len(stoppingSince(before))) == n, "every call stopped the world once")
		return timed{n, took}
	})
}

// stopBusy's figure is the median of one stop and start: in the mean, this goroutine waits for the spinners'
// time slices.
func stopBusy(o options) result {
	s := startSpinners(2)
	defer s.end()
	var took, stopping []float64
	r := measure(o, 100, func(n uint64) timed {
		took = make([]float64, n)
		before := stoppingTimes()
		start := time.Now()
		for i := range took {
			began := time.Now()
			stopWorld()
			took[i] = float64(time.Since(began).Nanoseconds())
		}
		all := time.Since(start)
		stopping = stoppingSince(before)
		check(len(stopping) == len(took), "every call stopped the world once")
		return timed{n, all}
	})
	slices.Sort(took)
	r.Extra["mean_ns"] = r.Value
	addQuantiles(&r, "", took)
	addQuantiles(&r, "stopping_", stopping)
	r.Value = r.Extra["p50_ns"].(float64)
	return r
}

// changeProcs: one operation is one change; they come in pairs, down by one and up again, since the two do not
// cost the same.
func changeProcs(o options, busy int) result {
	s := startSpinners(busy)
	defer s.end()
	check(o.procs > 1, "there is a processor to take away")
	var took []float64
	r := measure(o, 10, func(n uint64) timed {
		took = make([]float64, (n+1)/2)
		start := time.Now()
		for i := range took {
			began := time.Now()
			was := runtime.GOMAXPROCS(o.procs - 1)
			lower := runtime.GOMAXPROCS(o.procs)
			took[i] = float64(time.Since(began).Nanoseconds()) / 2
			check(was == o.procs && lower == o.procs-1, "each change was made")
		}
		return timed{2 * uint64(len(took)), time.Since(start)}
	})
	slices.Sort(took)
	r.Extra["mean_ns"] = r.Value
	addQuantiles(&r, "", took)
	if busy > 0 { // as in stopBusy
		r.Value = r.Extra["p50_ns"].(float64)
	}
	return r
}

// spacedStops gives the distribution of the time that n stops took to stop the world; between them this goroutine
// computes for 100 us, so that the others really run.
func spacedStops(o options) result {
	n := o.n
	if n == 0 {
		n = 1000
	}
	took := make([]float64, n)
	for range 10 {
		stopWorld()
	}
	before := stoppingTimes()
	for i := range took {
		for start := time.Now(); time.Since(start) < 100*time.Microsecond; {
		}
		began := time.Now()
		stopWorld()
		took[i] = float64(time.Since(began).Nanoseconds())
	}
	stopping := stoppingSince(before)
	check(len(stopping) == len(took), "every call stopped the world once")
	slices.Sort(took)
	r := result{Unit: "ns", Extra: map[string]any{"n": n}}
	addQuantiles(&r, "stopping_", stopping)
	addQuantiles(&r, "", took)
	r.Value = r.Extra["stopping_p50_ns"].(float64)
	return r
}

func stopParked100k(o options) result {
	const count = 100_000
	gate := make(chan struct{})
	var waiting, passed atomic.Int64
	for range count {
		go func() {
			waiting.Add(1)
			<-gate
			passed.Add(1)
		}()
	}
	for waiting.Load() != count {
		runtime.Gosched()
	}
	r := spacedStops(o)
	close(gate)
	for passed.Load() != count {
		runtime.Gosched()
	}
	return r
}

// stopHogs: the hogs' garbage makes the collector run meanwhile; its stops are not among these.
func stopHogs(o options) result {
	h := startHogs(2, allocHog)
	defer h.end()
	return spacedStops(o)
}
