package main

// Rows about goroutines that never give their processor up by themselves. bench/README.md says what they ask.

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// hog is one endless goroutine and how far it has got.
type hog struct {
	operations atomic.Uint64
	_          [120]byte // a cache line of its own, and the next, which is fetched along
}

type hogs struct {
	all  []hog
	stop atomic.Bool
	done sync.WaitGroup
}

// startHogs: each hog calls its own work for ever; work says how many operations that was.
func startHogs(n int, newWork func() func() uint64) *hogs {
	h := &hogs{all: make([]hog, n)}
	h.done.Add(n)
	for i := range h.all {
		go func() {
			work := newWork()
			for !h.stop.Load() {
				h.all[i].operations.Add(work())
			}
			h.done.Done()
		}()
	}
	return h
}

func (h *hogs) end() {
	h.stop.Store(true)
	h.done.Wait()
}

func (h *hogs) counts() []uint64 {
	c := make([]uint64, len(h.all))
	for i := range h.all {
		c[i] = h.all[i].operations.Load()
	}
	return c
}

// speed is what n hogs do together: nanoseconds per operation, the least hog's part of a fair share, and the share
// of CPU.
type speed struct{ ns, leastShare, cpu float64 }

func hogSpeed(o options, n int, newWork func() func() uint64) speed {
	h := startHogs(n, newWork)
	defer h.end()
	time.Sleep(o.goal / 3) // until all have started
	before, cpu, start := h.counts(), processCPU(), time.Now()
	time.Sleep(4 * o.goal)
	after, took := h.counts(), time.Since(start)
	used := processCPU() - cpu
	sum, least := uint64(0), ^uint64(0)
	for i := range after {
		did := after[i] - before[i]
		sum += did
		least = min(least, did)
	}
	check(sum > 0, "hogs get on")
	return speed{
		ns:         float64(took.Nanoseconds()) / float64(sum),
		leastShare: float64(least) * float64(n) / float64(sum),
		cpu:        used.Seconds() / took.Seconds(),
	}
}

// manyAgainstOne: by how much n hogs together are slower than one alone.
func manyAgainstOne(o options, n int, newWork func() func() uint64) result {
	one := hogSpeed(o, 1, newWork)
	many := hogSpeed(o, n, newWork)
	return result{
		Value: many.ns / one.ns,
		Unit:  "x",
		Extra: map[string]any{"one_ns": one.ns, "many_ns": many.ns,
			"least_share": many.leastShare, "cpu_per_wall": many.cpu},
	}
}

// ---- work ---------------------------------------------------------------------------------------

// allocHog replaces one of its 64 blocks by a new one of 16 to 2063 bytes. The collector frees the old ones.
func allocHog() func() uint64 {
	blocks := make([][]byte, 64)
	random := uint32(1)
	return func() uint64 {
		const batch = 100
		for range batch {
			random = random*1664525 + 1013904223
			block := make([]byte, 16+random>>21)
			block[0] = 1
			blocks[random>>8&63] = block
		}
		return batch
	}
}

// fileHog: Go's nearest to a FILE is a buffer of the same size with a mutex around each formatted write.
func fileHog(file *bufio.Writer, lock *sync.Mutex) func() func() uint64 {
	return func() func() uint64 {
		line := 0
		return func() uint64 {
			line++
			lock.Lock()
			fmt.Fprintf(file, "%d: %s\n", line, "a line of text")
			lock.Unlock()
			return 1
		}
	}
}

// spinHog computes without a call. `spun` keeps the compiler from leaving the loop out.
func spinHog() func() uint64 {
	spun := uint64(0)
	return func() uint64 {
		for i := uint64(0); i < 1000; i++ {
			spun = spun*6364136223846793005 + i
		}
		return 1 + spun>>63
	}
}

// ---- rows ---------------------------------------------------------------------------------------

func allocHogs(n int) func(options) result {
	return func(o options) result { return manyAgainstOne(o, n, allocHog) }
}

func fileHogs(n int) func(options) result {
	return func(o options) result {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			fail("%v", err)
		}
		var lock sync.Mutex
		return manyAgainstOne(o, n, fileHog(bufio.NewWriterSize(null, 4096), &lock))
	}
}

// besideHog: by how much body is slower beside one hog than alone, and what part of a processor the hog got.
func besideHog(o options, first uint64, body func(n uint64) timed) result {
	alone := measure(o, first, body)
	hogAlone := hogSpeed(o, 1, spinHog)
	h := startHogs(1, spinHog)
	did := uint64(0)
	r := measure(o, 10, func(n uint64) timed {
		before := h.counts()[0]
		t := body(n)
		did = h.counts()[0] - before
		return t
	})
	h.end()
	r.Extra["hog_share"] = float64(did) * hogAlone.ns / 1e9 / r.Extra["seconds"].(float64)
	r.Extra["alone_ns"], r.Extra["beside_ns"] = alone.Value, r.Value
	r.Value /= alone.Value
	r.Unit = "x"
	return r
}

// serverHog: rounds of 64 requests, each a goroutine that computes for about a microsecond.
func serverHog(o options) result {
	const round = 64
	var sum atomic.Uint64
	return besideHog(o, round, func(n uint64) timed {
		rounds := (n + round - 1) / round
		sum.Store(0)
		start := time.Now()
		for range rounds {
			var done sync.WaitGroup
			done.Add(round)
			for range round {
				go func() { sum.Add(request()); done.Done() }()
			}
			done.Wait()
		}
		took := time.Since(start)
		check(sum.Load() == rounds*round*request(), "every request was answered")
		return timed{rounds * round, took}
	})
}

// request: a chain of 500 multiplications.
func request() uint64 {
	v := uint64(1)
	for range 500 {
		v = v*6364136223846793005 + 1442695040888963407
	}
	return v >> 60
}

// pingpongHog is Go's own BenchmarkPingPongHog, but for the hog: here it makes no calls.
func pingpongHog(o options) result {
	return besideHog(o, 100, func(n uint64) timed { return trips(n, 0, false) })
}
