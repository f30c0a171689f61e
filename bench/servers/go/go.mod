module gort/bench/servers

go 1.22
