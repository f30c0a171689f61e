module gort.invalid/bench/go_kv

go 1.25
