// Go's net/http with the one answer that bench/http asks for.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready on", l.Addr())
	hello := []byte("Hello, World!\n")
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
		w.Write(hello)
	})
	fmt.Fprintln(os.Stderr, http.Serve(l, nil))
}
