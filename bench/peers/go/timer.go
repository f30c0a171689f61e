// The rows of time: the designs of Go's own benchmarks (time/sleep_test.go), one goroutine per P.
package main

import (
	"sync"
	"time"
)

// perP: n operations in thousands, shared by a goroutine for each P.
func perP(body func(n uint64)) func(options) result {
	return func(o options) result {
		return measure(o, 1000, func(n uint64) timed {
			count := uint64(o.procs)
			each := (n + count*1000 - 1) / (count * 1000) * 1000
			return shared(o, 1, each*count, body)
		})
	}
}

func timerStop(n uint64) {
	for range n {
		check(time.NewTimer(time.Second).Stop(), "armed")
	}
}

func timerStartStop(n uint64) {
	timers := make([]*time.Timer, 1000)
	for i := uint64(0); i < n; i += 1000 {
		for k := range timers {
			timers[k] = time.AfterFunc(time.Hour, nil)
		}
		for _, t := range timers {
			check(t.Stop(), "armed")
		}
	}
}

func timerReset(n uint64) {
	t := time.NewTimer(time.Hour)
	for range n {
		check(t.Reset(time.Hour), "armed")
	}
	t.Stop()
}

func funcReset(n uint64) {
	t := time.AfterFunc(time.Hour, func() {})
	for range n {
		check(t.Reset(time.Hour), "armed")
	}
	t.Stop()
}

func afterFunc(n uint64) {
	done := make(chan bool)
	var f func()
	f = func() {
		if n == 0 {
			done <- true
			return
		}
		n--
		time.AfterFunc(0, f)
	}
	time.AfterFunc(0, f)
	<-done
}

func sleep1000(n uint64) {
	for i := uint64(0); i < n; i += 1000 {
		var all sync.WaitGroup
		all.Add(1000)
		for range 1000 {
			go func() {
				time.Sleep(time.Nanosecond)
				all.Done()
			}()
		}
		all.Wait()
	}
}

func timers1m(o options) result {
	const many = 1000000
	timers := make([]*time.Timer, many)
	start := time.Now()
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour+time.Duration(i*7919%many)*time.Microsecond, nil)
	}
	armed := time.Now()
	for _, t := range timers {
		check(t.Stop(), "armed")
	}
	stopped := time.Now()
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / many }
	return result{Value: per(stopped.Sub(start)), Unit: "ns",
		Extra: map[string]any{"arm_ns": per(armed.Sub(start)), "stop_ns": per(stopped.Sub(armed)), "free_ns": 0}}
}

// A wait with a timeout that is served in time; one timer for each side, as a careful program has it.
func timedRecv(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		there, back := make(chan int), make(chan int)
		receive := func(c chan int, t *time.Timer) {
			t.Reset(time.Second)
			select {
			case <-c:
			case <-t.C:
				fail("not in time")
			}
			t.Stop()
		}
		start := time.Now()
		go func() {
			t := time.NewTimer(time.Hour)
			for range n {
				receive(there, t)
				back <- 1
			}
		}()
		t := time.NewTimer(time.Hour)
		for range n {
			there <- 1
			receive(back, t)
		}
		return timed{n, time.Since(start)}
	})
}

func init() {
	for name, body := range map[string]func(uint64){"timer_stop": timerStop, "timer_start_stop": timerStartStop,
		"timer_reset": timerReset, "func_reset": funcReset, "after_func": afterFunc, "sleep1000": sleep1000} {
		rows = append(rows, struct {
			name string
			run  func(options) result
		}{name, perP(body)})
	}
	rows = append(rows, []struct {
		name string
		run  func(options) result
	}{{"timers1m", timers1m}, {"timed_recv", timedRecv}}...)
}
