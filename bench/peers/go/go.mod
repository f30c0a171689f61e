module gort.invalid/bench/go_peer

go 1.25
