package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
)

// processCPU is the user and system time of the whole process.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fail("getrusage: %v", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory is what the kernel says about this process; bytes, but for mappings.
type memory struct {
	resident, pageTables, reserved, mappings float64
}

func readFile(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	return data
}

func readMemory() memory {
	var m memory
	page := float64(os.Getpagesize())
	if _, err := fmt.Sscan(string(readFile("/proc/self/statm")), &m.reserved, &m.resident); err != nil {
		fail("statm: %v", err)
	}
	m.reserved *= page
	m.resident *= page
	status := readFile("/proc/self/status")
	if _, after, found := bytes.Cut(status, []byte("VmPTE:")); found {
		if _, err := fmt.Sscan(string(after), &m.pageTables); err != nil {
			fail("VmPTE: %v", err)
		}
		m.pageTables *= 1024
	}
	m.mappings = float64(bytes.Count(readFile("/proc/self/maps"), []byte("\n")))
	return m
}

func parkedResult(n uint64, before, after memory, create, wake time.Duration) result {
	count := float64(n)
	return result{
		Value: (after.resident - before.resident) / count,
		Unit:  "B",
		Extra: map[string]any{
			"n":                n,
			"create_ns":        float64(create.Nanoseconds()) / count,
			"wake_ns":          float64(wake.Nanoseconds()) / count,
			"page_table_bytes": (after.pageTables - before.pageTables) / count,
			"mappings":         after.mappings,
			"mappings_before":  before.mappings,
			"reserved_mib":     (after.reserved - before.reserved) / (1 << 20),
		},
	}
}
