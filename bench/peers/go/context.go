// The rows of contexts, and of a scope: package errgroup's design with the standard library only.
package main

import (
	"context"
	"sync"
	"time"
)

func timeoutRecv(waits bool) func(options) result {
	return func(o options) result {
		return measure(o, 1000, func(n uint64) timed {
			size := 1
			if waits {
				size = 0
			}
			ask := make(chan uint64, size)
			answer := make(chan uint64, size)
			go func() {
				for v := range ask {
					answer <- v + 1
				}
				close(answer)
			}()
			background := context.Background()
			sum := uint64(0)
			start := time.Now()
			for i := range n {
				if waits {
					ask <- i
				} else {
					answer <- i + 1
				}
				ctx, cancel := context.WithTimeout(background, time.Hour)
				select {
				case v := <-answer:
					sum += v - i
				case <-ctx.Done():
				}
				cancel()
			}
			took := time.Since(start)
			close(ask)
			<-answer
			check(sum == n, "every answer arrived")
			return timed{n, took}
		})
	}
}

// group: the first error cancels the context and is what wait returns.
type group struct {
	cancel context.CancelCauseFunc
	all    sync.WaitGroup
	first  sync.Once
	err    error
}

func newGroup(parent context.Context) (*group, context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	return &group{cancel: cancel}, ctx
}

func (g *group) run(f func() error) {
	g.all.Add(1)
	go func() {
		defer g.all.Done()
		if err := f(); err != nil {
			g.first.Do(func() {
				g.err = err
				g.cancel(err)
			})
		}
	}()
}

func (g *group) wait() error {
	g.all.Wait()
	g.cancel(g.err)
	return g.err
}

func scope10(o options) result {
	return measure(o, 100, func(n uint64) timed {
		sum := uint64(0)
		background := context.Background()
		start := time.Now()
		for range n {
			var parts [10]uint64
			g, _ := newGroup(background)
			for k := range parts {
				g.run(func() error {
					parts[k] = 1
					return nil
				})
			}
			check(g.wait() == nil, "no error")
			for _, part := range parts {
				sum += part
			}
		}
		took := time.Since(start)
		check(sum == 10*n, "all have run")
		return timed{n, took}
	})
}

func cancel1000(o options) result {
	return measure(o, 1000, func(n uint64) timed {
		const many = 1000
		rounds := (n + many - 1) / many
		var took time.Duration
		for range rounds {
			never := make(chan int)
			var up, ended sync.WaitGroup
			up.Add(many)
			ctx, cancel := context.WithCancel(context.Background())
			for range many {
				ended.Add(1)
				go func() {
					defer ended.Done()
					up.Done()
					select {
					case <-never:
					case <-ctx.Done():
					}
				}()
			}
			up.Wait()
			start := time.Now()
			cancel()
			ended.Wait()
			took += time.Since(start)
		}
		return timed{rounds * many, took}
	})
}

func init() {
	rows = append(rows, []struct {
		name string
		run  func(options) result
	}{
		{"timeout_recv_ready", timeoutRecv(false)},
		{"timeout_recv", timeoutRecv(true)},
		{"scope10", scope10},
		{"cancel1000", cancel1000},
		{"cancel1000_unwind", cancel1000}, // the shortest way there is, for comparison: nothing unwinds in Go
	}...)
}
