// The rows of the synchronization primitives: the designs of Go's own benchmarks (sync/*_test.go), with a
// fixed share of the operations for each goroutine.
package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// shared: n operations, shared by procs * parallelism goroutines: body(howMany) in each.
func shared(o options, parallelism int, n uint64, body func(each uint64)) timed {
	count := uint64(o.procs * parallelism)
	each := (n + count - 1) / count
	var all sync.WaitGroup
	start := time.Now()
	for range count {
		all.Go(func() { body(each) })
	}
	all.Wait()
	return timed{each * count, time.Since(start)}
}

// syncWork: dependent multiplications, the same machine code in all contenders.
func syncWork(rounds int) {
	x := uint64(1)
	for range rounds {
		x = x*2862933555777941757 + 3037000493
	}
	workSink(x)
}

//go:noinline
func workSink(uint64) {}

// paddedMutex has its cache lines for itself, as gort's have in these rows.
type paddedMutex struct {
	sync.Mutex
	_ [120]byte
}

func mutexUncontended(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		return shared(o, 1, n, func(each uint64) {
			m := new(paddedMutex)
			for range each {
				m.Lock()
				m.Unlock()
				m.Lock()
				m.Unlock()
			}
		})
	})
}

func mutexRow(slack, work bool) func(options) result {
	return func(o options) result {
		return measure(o, 1000, func(n uint64) timed {
			m := new(paddedMutex)
			inside := uint64(0)
			parallelism := 1
			if slack {
				parallelism = 10
			}
			t := shared(o, parallelism, n, func(each uint64) {
				for range each {
					m.Lock()
					inside++
					m.Unlock()
					if work {
						syncWork(25)
					}
				}
			})
			check(inside == t.ops, "one at a time")
			return t
		})
	}
}

func touch(data []uint64) {
	for i := 0; i < len(data); i += 4 {
		data[i]++
	}
}

func mutexNoSpin(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		m := new(paddedMutex)
		var a, b uint64
		t := shared(o, 4, n, func(each uint64) {
			c := make(chan bool)
			var data [4 << 10]uint64
			for i := range each {
				if i%4 == 0 {
					m.Lock()
					a -= 100
					b += 100
					m.Unlock()
				} else {
					touch(data[:])
					go func() { c <- true }()
					<-c
				}
			}
		})
		check(a+b == 0, "one at a time")
		return t
	})
}

func mutexSpin(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		m := new(paddedMutex)
		var a, b uint64
		t := shared(o, 1, n, func(each uint64) {
			var data [16 << 10]uint64
			for range each {
				m.Lock()
				a -= 100
				b += 100
				m.Unlock()
				touch(data[:])
			}
		})
		check(a+b == 0, "one at a time")
		return t
	})
}

func rwmutexRow(ratio uint64, work int) func(options) result {
	return func(o options) result {
		return measure(o, 1000, func(n uint64) timed {
			m := new(struct {
				sync.RWMutex
				_ [104]byte
			})
			return shared(o, 1, n, func(each uint64) {
				for i := uint64(1); i <= each; i++ {
					if i%ratio == 0 {
						m.Lock()
						m.Unlock()
					} else {
						m.RLock()
						syncWork(work)
						m.RUnlock()
					}
				}
			})
		})
	}
}

func condRow(waiters int) func(options) result {
	return func(o options) result {
		return measure(o, 100, func(n uint64) timed {
			var m sync.Mutex
			changed := sync.NewCond(&m)
			id := 0
			var all sync.WaitGroup
			start := time.Now()
			for range waiters + 1 {
				all.Go(func() {
					for range n {
						m.Lock()
						if id == -1 {
							m.Unlock()
							return
						}
						id++
						if id == waiters+1 {
							id = 0
							changed.Broadcast()
						} else {
							changed.Wait()
						}
						m.Unlock()
					}
					m.Lock()
					id = -1
					changed.Broadcast()
					m.Unlock()
				})
			}
			all.Wait()
			return timed{n, time.Since(start)}
		})
	}
}

// semaphoreRow: Go's public semaphore is a buffered channel.
func semaphoreRow(block, work bool) func(options) result {
	return func(o options) result {
		return measure(o, 1000, func(n uint64) timed {
			units, parallelism := o.procs, 1
			if block {
				units, parallelism = 1, 10
			}
			s := make(chan struct{}, units)
			return shared(o, parallelism, n, func(each uint64) {
				for range each {
					s <- struct{}{}
					if work {
						syncWork(25)
					}
					<-s
				}
			})
		})
	}
}

func waitGroupUncontended(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		return shared(o, 1, n, func(each uint64) {
			g := new(struct {
				sync.WaitGroup
				_ [112]byte
			})
			for range each {
				g.Add(1)
				g.Done()
				g.Wait()
			}
		})
	})
}

func waitGroupAddDone(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		var g sync.WaitGroup
		t := shared(o, 1, n, func(each uint64) {
			for range each {
				g.Add(1)
				g.Done()
			}
		})
		g.Wait()
		return t
	})
}

func waitGroupWait(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		return shared(o, 1, n, func(each uint64) {
			for range each {
				var g sync.WaitGroup
				g.Add(2)
				go func() { g.Done() }()
				go func() { g.Done() }()
				g.Wait()
			}
		})
	})
}

func onceRow(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		var once sync.Once
		var calls atomic.Int64
		f := func() { calls.Add(1) }
		t := shared(o, 1, n, func(each uint64) {
			for range each {
				once.Do(f)
			}
		})
		check(calls.Load() == 1, "called once")
		return t
	})
}

func poolRow(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		var p sync.Pool
		t := shared(o, 1, n, func(each uint64) {
			p.Put(new(int))
			for range each {
				x := p.Get()
				if x == nil {
					x = new(int)
				}
				p.Put(x)
			}
		})
		runtime.KeepAlive(&p)
		return t
	})
}

// syncRows are rows like those of rows.go.
var syncRows = []struct {
	name string
	run  func(options) result
}{
	{"mutex_uncontended", mutexUncontended},
	{"mutex", mutexRow(false, false)},
	{"mutex_slack", mutexRow(true, false)},
	{"mutex_work", mutexRow(false, true)},
	{"mutex_work_slack", mutexRow(true, true)},
	{"mutex_no_spin", mutexNoSpin},
	{"mutex_spin", mutexSpin},
	{"rwmutex_write100", rwmutexRow(100, 0)},
	{"rwmutex_write10", rwmutexRow(10, 0)},
	{"rwmutex_work_write100", rwmutexRow(100, 25)},
	{"rwmutex_work_write10", rwmutexRow(10, 25)},
	{"cond1", condRow(1)},
	{"cond2", condRow(2)},
	{"cond4", condRow(4)},
	{"cond8", condRow(8)},
	{"cond16", condRow(16)},
	{"cond32", condRow(32)},
	{"semaphore", semaphoreRow(false, false)},
	{"semaphore_block", semaphoreRow(true, true)},
	{"wait_group_uncontended", waitGroupUncontended},
	{"wait_group_add_done", waitGroupAddDone},
	{"wait_group_wait", waitGroupWait},
	{"once", onceRow},
	{"pool", poolRow},
}

func init() {
	rows = append(rows, syncRows...)
}
