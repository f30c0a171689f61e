// Go's side of `make bench`. The command line and the one JSON line per run are those of
// bench/harness/harness.h, and so is the way of measuring: the first run only warms up, then the count grows
// until one run takes --min-ms. Default collector settings; no dependency outside the standard library.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

type options struct {
	row    string
	config string // other than the best configuration, in words
	procs  int
	n      uint64        // 0: as many as take goal
	goal   time.Duration // --min-ms
}

func (o options) has(word string) bool { return strings.Contains(o.config, word) }

type result struct {
	Row   string         `json:"row"`
	Impl  string         `json:"impl"`
	Procs int            `json:"procs"`
	Value float64        `json:"value"`
	Unit  string         `json:"unit"`
	Extra map[string]any `json:"extra"`
}

// timed is what one run did; ops may be more than asked for (rounded up to whole batches).
type timed struct {
	ops  uint64
	took time.Duration
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// check: a failed check is a failed row, never a figure.
func check(ok bool, what string) {
	if !ok {
		fail("check failed: %s", what)
	}
}

// nextCount aims a fifth above the goal and grows at most a hundredfold.
func nextCount(seen timed, goal time.Duration) uint64 {
	took := max(seen.took, time.Nanosecond)
	factor := min(1.2*float64(goal)/float64(took), 100)
	return uint64(float64(seen.ops)*factor) + 1
}

func measure(o options, first uint64, body func(n uint64) timed) result {
	t := body(first)
	for {
		n := o.n
		if n == 0 {
			n = nextCount(t, o.goal)
		}
		cpu, wall := processCPU(), time.Now()
		t = body(n)
		if o.n != 0 || t.took >= o.goal {
			share := (processCPU() - cpu).Seconds() / time.Since(wall).Seconds()
			return result{
				Value: float64(t.took.Nanoseconds()) / float64(t.ops),
				Unit:  "ns",
				Extra: map[string]any{"n": t.ops, "seconds": t.took.Seconds(), "cpu_per_wall": share},
			}
		}
	}
}

func usage() {
	fmt.Fprintf(os.Stderr, "usage: %s ROW [--procs N] [--n COUNT] [--min-ms MS] [--config WORDS]"+
		" | --list | --version\n", os.Args[0])
	os.Exit(2)
}

func number(text string) uint64 {
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		usage()
	}
	return v
}

func parse(args []string) options {
	o := options{row: args[0], procs: 1, goal: 300 * time.Millisecond}
	if len(args)%2 != 1 {
		usage()
	}
	for i := 1; i < len(args); i += 2 {
		switch args[i] {
		case "--procs":
			o.procs = int(number(args[i+1]))
		case "--n":
			o.n = number(args[i+1])
		case "--min-ms":
			o.goal = time.Duration(number(args[i+1])) * time.Millisecond
		case "--config":
			o.config = args[i+1]
		default:
			usage()
		}
	}
	if o.procs < 1 || o.procs > 1024 {
		usage()
	}
	return o
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	switch os.Args[1] {
	case "--list":
		for _, row := range rows {
			fmt.Println(row.name)
		}
		return
	case "--version":
		fmt.Printf("{\"impl\":\"go\",\"version\":%q}\n", runtime.Version())
		return
	}
	o := parse(os.Args[1:])
	for _, row := range rows {
		if row.name != o.row {
			continue
		}
		runtime.GOMAXPROCS(o.procs)
		r := row.run(o)
		r.Row, r.Impl, r.Procs = o.row, "go", o.procs
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			fail("cannot write the result: %v", err)
		}
		return
	}
	fmt.Fprintf(os.Stderr, "%s has no row %s\n", os.Args[0], o.row)
	os.Exit(2)
}
