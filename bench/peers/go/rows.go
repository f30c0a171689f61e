package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// rows has no raw switch: Go does not offer one.
var rows = []struct {
	name string
	run  func(options) result
}{
	{"yield2", func(o options) result { return yield(o, 2) }},
	{"yield1000", func(o options) result { return yield(o, 1000) }},
	{"spawn_join_one", spawnJoinOne},
	{"spawn_batch1000", spawnBatch1000},
	{"spawn10000", spawn10000},
	{"skynet", skynetRow},
	{"parked100k", func(o options) result { return parked(o, 100_000) }},
	{"parked1m", func(o options) result { return parked(o, 1_000_000) }},
	{"idle_cpu", idleCPU},
	{"pingpong_sema", pingpongSema},
	{"pingpong_locked", pingpongLocked},
	{"pingpong_chan", pingpongChan},
	{"chan_stream1024", chanStream1024},
	{"chan_uncontended", chanUncontended},
	{"chan_contended", chanContended},
	{"chan_sync", chanSync(0)},
	{"chan_sync_work", chanSync(1000)},
	{"chan_prodcons0", chanProdCons(0, 0)},
	{"chan_prodcons10", chanProdCons(10, 0)},
	{"chan_prodcons100", chanProdCons(100, 0)},
	{"chan_prodcons0_work", chanProdCons(0, 100)},
	{"chan_prodcons10_work", chanProdCons(10, 100)},
	{"chan_prodcons100_work", chanProdCons(100, 100)},
	{"chan_sem", chanSem},
	{"chan_popular", chanPopular},
	{"chan_closed", chanClosed},
	{"select_uncontended", selectUncontended},
	{"select_sync", selectSync},
	{"select_async", selectAsync},
	{"select_nonblock", selectNonblock},
	{"select_prodcons", selectProdCons},
	{"stop_idle", stopIdle},
	{"stop_busy", stopBusy},
	{"procs_idle", func(o options) result { return changeProcs(o, 0) }},
	{"procs_busy", func(o options) result { return changeProcs(o, 2) }},
	{"stop_parked100k", stopParked100k},
	{"stop_hogs", stopHogs},
	{"hogs2", allocHogs(2)},
	{"hogs8", allocHogs(8)},
	{"server_hog", serverHog},
	{"pingpong_hog", pingpongHog},
	{"file8", fileHogs(8)},
	{"file16", fileHogs(16)},
}

func yield(o options, count uint64) result {
	return measure(o, 10*count, func(n uint64) timed {
		each := (n + count - 1) / count
		alone := o.procs == 1 // then plain shared words are safe
		var yields atomic.Uint64
		last, turns := count, uint64(0)
		var all sync.WaitGroup
		all.Add(int(count))
		start := time.Now()
		for id := range count {
			go func() {
				for range each {
					if alone && last != id {
						last = id
						turns++
					}
					runtime.Gosched()
				}
				yields.Add(each)
				all.Done()
			}()
		}
		all.Wait()
		took := time.Since(start)
		check(yields.Load() == each*count, "every yield was made")
		check(!alone || turns >= each*count*9/10, "a yield lets another goroutine run")
		return timed{each * count, took}
	})
}

// spawnJoinOne joins through a channel, or more slowly, with --config wg, through a WaitGroup.
func spawnJoinOne(o options) result {
	return measure(o, 100, func(n uint64) timed {
		ran := uint64(0)
		start := time.Now()
		if !o.has("wg") {
			done := make(chan struct{})
			for range n {
				go func() { ran++; done <- struct{}{} }()
				<-done
			}
		} else {
			var done sync.WaitGroup
			for range n {
				done.Add(1)
				go func() { ran++; done.Done() }()
				done.Wait()
			}
		}
		took := time.Since(start)
		check(ran == n, "every goroutine ran once")
		return timed{n, took}
	})
}

func spawnBatch1000(o options) result {
	const batch = 1000
	return measure(o, batch, func(n uint64) timed {
		batches := (n + batch - 1) / batch
		var ran atomic.Uint64
		start := time.Now()
		for range batches {
			var done sync.WaitGroup
			done.Add(batch)
			for range batch {
				go func() { ran.Add(1); done.Done() }()
			}
			done.Wait()
		}
		took := time.Since(start)
		check(ran.Load() == batches*batch, "every goroutine ran once")
		return timed{batches * batch, took}
	})
}

// spawn10000: nobody joins, the last of 10,000 tells.
func spawn10000(o options) result {
	const batch = 10000
	return measure(o, batch, func(n uint64) timed {
		batches := (n + batch - 1) / batch
		last := make(chan struct{})
		start := time.Now()
		for range batches {
			var left atomic.Int64
			left.Store(batch)
			for range batch {
				go func() {
					if left.Add(-1) == 0 {
						last <- struct{}{}
					}
				}()
			}
			<-last
		}
		return timed{batches * batch, time.Since(start)}
	})
}

// skynet in its published form: each goroutine sends its sum on its parent's channel.
func skynet(out chan<- uint64, number, leaves uint64) {
	if leaves == 1 {
		out <- number
		return
	}
	in := make(chan uint64)
	for i := range uint64(10) {
		go skynet(in, number+i*(leaves/10), leaves/10)
	}
	sum := uint64(0)
	for range 10 {
		sum += <-in
	}
	out <- sum
}

// skynetJoined writes sums into the parent's array and joins by WaitGroup.
func skynetJoined(number, leaves uint64) uint64 {
	if leaves == 1 {
		return number
	}
	var results [10]uint64
	var done sync.WaitGroup
	done.Add(10)
	for i := range uint64(10) {
		go func() {
			results[i] = skynetJoined(number+i*(leaves/10), leaves/10)
			done.Done()
		}()
	}
	done.Wait()
	sum := uint64(0)
	for _, r := range results {
		sum += r
	}
	return sum
}

func skynetRow(o options) result {
	joined := o.has("wg")
	r := measure(o, 1, func(n uint64) timed {
		start := time.Now()
		for range n {
			sum := uint64(0)
			if joined {
				sum = skynetJoined(0, 1_000_000)
			} else {
				out := make(chan uint64)
				go skynet(out, 0, 1_000_000)
				sum = <-out
			}
			check(sum == 499_999_500_000, "the sum of the leaves")
		}
		return timed{n, time.Since(start)}
	})
	r.Value /= 1e6
	r.Unit = "ms"
	return r
}

func parked(o options, count uint64) result {
	n := count
	if o.n != 0 {
		n = o.n
	}
	gate := make(chan struct{})
	var waiting, passed atomic.Uint64
	runtime.Gosched()
	before := readMemory()
	start := time.Now()
	for range n {
		go func() {
			waiting.Add(1)
			<-gate
			passed.Add(1)
		}()
	}
	for waiting.Load() != n {
		runtime.Gosched()
	}
	created := time.Since(start)
	after := readMemory()
	release := time.Now()
	close(gate)
	for passed.Load() != n {
		runtime.Gosched()
	}
	return parkedResult(n, before, after, created, time.Since(release))
}

// idleCPU: a burst, a moment for its after-effects, then nothing.
func idleCPU(o options) result {
	var burst sync.WaitGroup
	burst.Add(10000)
	for range 10000 {
		go func() { runtime.Gosched(); burst.Done() }()
	}
	burst.Wait()
	seconds := o.n
	if seconds == 0 {
		seconds = 3
	}
	time.Sleep(200 * time.Millisecond)
	cpu, wall := processCPU(), time.Now()
	time.Sleep(time.Duration(seconds) * time.Second)
	used, took := processCPU()-cpu, time.Since(wall)
	return result{
		Value: used.Seconds() * 1e3 / took.Seconds(),
		Unit:  "ms/s",
		Extra: map[string]any{"seconds": took.Seconds()},
	}
}

// pingpongSema: Go has no public semaphore. A channel of capacity 1 (--config cap1) is its idiom for
// one; the unbuffered channel does the same here and is mostly faster.
func pingpongSema(o options) result {
	return pingpong(o, false)
}

func pingpongLocked(o options) result {
	return pingpong(o, true)
}

func pingpong(o options, locked bool) result {
	capacity := 0
	if o.has("cap1") {
		capacity = 1
	}
	r := measure(o, 100, func(n uint64) timed { return trips(n, capacity, locked) })
	r.Extra["channel_capacity"] = capacity
	return r
}

func trips(n uint64, capacity int, locked bool) timed {
	ping, pong := make(chan uint64, capacity), make(chan uint64, capacity)
	go func() {
		if locked {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		for v := range ping {
			pong <- v + 1
		}
		close(pong)
	}()
	start := time.Now()
	for i := range n {
		ping <- i
		check(<-pong == i+1, "each trip is answered once")
	}
	took := time.Since(start)
	close(ping)
	<-pong
	return timed{n, took}
}
