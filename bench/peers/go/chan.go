package main

// The designs of runtime/chan_test.go, by their names there; README.md says what one operation of each row is.

import (
	"sync"
	"sync/atomic"
	"time"
)

const callsPerSched = 1000

func localWork(w int) int {
	foo := 0
	for range w {
		foo /= (foo + 1)
	}
	return foo
}

// parallel runs body(k) in o.procs goroutines at once, k operations each.
func parallel(o options, first uint64, body func(n uint64)) result {
	procs := uint64(o.procs)
	return measure(o, first, func(n uint64) timed {
		each := (n + procs - 1) / procs
		var all sync.WaitGroup
		all.Add(o.procs)
		start := time.Now()
		for range procs {
			go func() { body(each); all.Done() }()
		}
		all.Wait()
		return timed{each * procs, time.Since(start)}
	})
}

func fillAndDrain(c chan int, n uint64) {
	for done := uint64(0); done < n; done += 100 {
		for range 100 {
			c <- 0
		}
		for range 100 {
			<-c
		}
	}
}

func pingpongChan(o options) result {
	return measure(o, 100, func(n uint64) timed {
		ping, pong := make(chan uint64), make(chan uint64)
		done := make(chan bool)
		go func() {
			for v := range ping {
				pong <- v + 1
			}
			close(done)
		}()
		start := time.Now()
		for i := range n {
			ping <- i
			if <-pong != i+1 {
				fail("each trip is answered once")
			}
		}
		took := time.Since(start)
		close(ping)
		<-done
		return timed{n, took}
	})
}

func chanStream1024(o options) result {
	return measure(o, 1024, func(n uint64) timed {
		c := make(chan uint64, 1024)
		start := time.Now()
		go func() {
			for i := range n {
				c <- i
			}
			close(c)
		}()
		expected, inOrder := uint64(0), true
		for v := range c {
			inOrder = inOrder && v == expected
			expected++
		}
		took := time.Since(start)
		check(inOrder && expected == n, "all came, in order")
		return timed{n, took}
	})
}

func chanUncontended(o options) result {
	return parallel(o, 1000, func(n uint64) { fillAndDrain(make(chan int, 100), n) })
}

func chanContended(o options) result {
	c := make(chan int, 100*o.procs)
	return parallel(o, 1000, func(n uint64) { fillAndDrain(c, n) })
}

func chanSync(work int) func(o options) result {
	return func(o options) result {
		return measure(o, 2*callsPerSched, func(n uint64) timed {
			calls := (n + callsPerSched - 1) / callsPerSched * callsPerSched // not fewer than n: the harness asks for more by that
			c := make(chan int)
			var all sync.WaitGroup
			all.Add(2)
			start := time.Now()
			for p := range 2 {
				go func() {
					for range calls / 2 {
						if p == 0 {
							<-c
							localWork(work)
							c <- 0
							localWork(work)
						} else {
							c <- 0
							localWork(work)
							<-c
							localWork(work)
						}
					}
					all.Done()
				}()
			}
			all.Wait()
			return timed{calls / 2 * 2, time.Since(start)}
		})
	}
}

func chanProdCons(size, work int) func(o options) result {
	return func(o options) result {
		return measure(o, callsPerSched*uint64(o.procs), func(n uint64) timed {
			var left atomic.Int64
			left.Store(int64((n + callsPerSched - 1) / callsPerSched))
			items := uint64(left.Load()) * callsPerSched
			c := make(chan int, size)
			var received atomic.Uint64
			var all sync.WaitGroup
			all.Add(2 * o.procs)
			start := time.Now()
			for range o.procs {
				go func() {
					for left.Add(-1) >= 0 {
						for range callsPerSched {
							localWork(work)
							c <- 1
						}
					}
					c <- 0
					all.Done()
				}()
				go func() {
					got := uint64(0)
					for <-c != 0 {
						got++
						localWork(work)
					}
					received.Add(got)
					all.Done()
				}()
			}
			all.Wait()
			took := time.Since(start)
			check(received.Load() == items, "what was sent was received")
			return timed{items, took}
		})
	}
}

func selectProdCons(o options) result {
	return measure(o, callsPerSched*uint64(o.procs), func(n uint64) timed {
		var left atomic.Int64
		left.Store(int64((n + callsPerSched - 1) / callsPerSched))
		items := uint64(left.Load()) * callsPerSched
		c, end := make(chan int, 128), make(chan bool)
		var received atomic.Uint64
		var all sync.WaitGroup
		all.Add(2 * o.procs)
		start := time.Now()
		for range o.procs {
			go func() {
				for left.Add(-1) >= 0 {
					for range callsPerSched {
						localWork(100)
						select {
						case c <- 1:
						case <-end:
						}
					}
				}
				select {
				case c <- 0:
				case <-end:
				}
				all.Done()
			}()
			go func() {
				got := uint64(0)
			loop:
				for {
					select {
					case v := <-c:
						if v == 0 {
							break loop
						}
					case <-end:
						break loop
					}
					got++
					localWork(100)
				}
				received.Add(got)
				all.Done()
			}()
		}
		all.Wait()
		took := time.Since(start)
		check(received.Load() == items, "what was sent was received")
		return timed{items, took}
	})
}

func chanSem(o options) result {
	c := make(chan struct{}, o.procs)
	return parallel(o, 1000, func(n uint64) {
		for range n {
			c <- struct{}{}
			<-c
		}
	})
}

func chanPopular(o options) result {
	const clients = 1000
	return measure(o, clients, func(n uint64) timed {
		rounds := (n + clients - 1) / clients
		popular := make(chan bool)
		var own []chan bool
		var all sync.WaitGroup
		all.Add(clients)
		start := time.Now()
		for range clients {
			d := make(chan bool)
			own = append(own, d)
			go func() {
				for range rounds {
					select {
					case <-popular:
					case <-d:
					}
				}
				all.Done()
			}()
		}
		for range rounds {
			for _, d := range own {
				d <- true
			}
		}
		all.Wait()
		return timed{rounds * clients, time.Since(start)}
	})
}

func chanClosed(o options) result {
	c := make(chan int)
	close(c)
	return parallel(o, 1000, func(n uint64) {
		for range n {
			select {
			case <-c:
			default:
				fail("closed")
			}
		}
	})
}

func selectUncontended(o options) result {
	return parallel(o, 1000, func(n uint64) {
		a, b := make(chan int, 1), make(chan int, 1)
		a <- 0
		for range n {
			select {
			case <-a:
				b <- 0
			case <-b:
				a <- 0
			}
		}
	})
}

func selectSync(o options) result {
	a, b, c := make(chan int), make(chan int), make(chan int)
	return parallel(o, 1000, func(n uint64) {
		done, ended := make(chan int), make(chan int)
		go func() {
			for {
				select {
				case a <- 0:
				case b <- 0:
				case c <- 0:
				case <-done:
					close(ended)
					return
				}
			}
		}()
		for range n {
			select {
			case <-a:
			case <-b:
			case <-c:
			}
		}
		close(done)
		<-ended
	})
}

func selectAsync(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		procs := uint64(o.procs)
		each := (n + procs - 1) / procs
		a, b := make(chan int, o.procs), make(chan int, o.procs)
		var all sync.WaitGroup
		all.Add(o.procs)
		start := time.Now()
		for range procs {
			go func() {
				a <- 0
				for range each {
					select {
					case <-a:
						b <- 0
					case <-b:
						a <- 0
					}
				}
				all.Done()
			}()
		}
		all.Wait()
		return timed{each * procs, time.Since(start)}
	})
}

func selectNonblock(o options) result {
	a, b, c, d := make(chan int), make(chan int), make(chan int, 1), make(chan int, 1)
	return parallel(o, 1000, func(n uint64) {
		for range n {
			select {
			case <-a:
			default:
			}
			select {
			case b <- 0:
			default:
			}
			select {
			case <-c:
			default:
			}
			select {
			case d <- 0:
			default:
			}
		}
	})
}
