// The Go peer of gort-kv: a server of the same design, as one would write it in Go. One goroutine for each connection, 64
// shards with a mutex each, strings with expiry; requests are parsed in place, answers of a pipeline are written together.
// It has the commands that redis-benchmark's SET, GET, INCR and PING need.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"hash/maphash"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const shards = 64

type entry struct {
	text    []byte
	expires int64 // ms since 1970; 0: never
}

type shard struct {
	sync.Mutex
	keys map[string]*entry
	_    [40]byte
}

var (
	keys     [shards]shard
	seed     = maphash.MakeSeed()
	commands atomic.Uint64
)

func shardOf(key []byte) *shard { return &keys[maphash.Bytes(seed, key)>>58] }

// find gives the key's entry, if its time is not up. With the shard locked.
func (s *shard) find(key []byte, now int64) *entry {
	e := s.keys[string(key)]
	if e != nil && e.expires != 0 && e.expires <= now {
		delete(s.keys, string(key))
		return nil
	}
	return e
}

// parser takes requests out of a buffer; a request's arguments are slices of it.
type parser struct {
	buf        []byte
	begin, end int
	args       [][]byte
}

// number reads digits up to "\r\n" from p on: the number, and where the next line begins; next < 0: not all is there.
func (p *parser) number(at int) (n, next int, ok bool) {
	nl := bytes.IndexByte(p.buf[at:p.end], '\n')
	if nl < 0 {
		return 0, -1, true
	}
	line := bytes.TrimSuffix(p.buf[at:at+nl], []byte{'\r'})
	if len(line) == 0 {
		return 0, 0, false
	}
	for _, c := range line {
		if c < '0' || c > '9' || n > 1<<29 {
			return 0, 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, at + nl + 1, true
}

// next: 1 a request, 0 more input is needed, -1 it is broken.
func (p *parser) next() int {
	p.args = p.args[:0]
	if p.begin == p.end {
		p.begin, p.end = 0, 0
		return 0
	}
	if p.buf[p.begin] != '*' {
		nl := bytes.IndexByte(p.buf[p.begin:p.end], '\n')
		if nl < 0 {
			return 0
		}
		p.args = append(p.args, bytes.Fields(p.buf[p.begin:p.begin+nl])...)
		p.begin += nl + 1
		return 1
	}
	n, at, ok := p.number(p.begin + 1)
	if !ok {
		return -1
	}
	if at < 0 {
		return 0
	}
	for ; n > 0; n-- {
		if at >= p.end {
			return 0
		}
		if p.buf[at] != '$' {
			return -1
		}
		size, next, ok := p.number(at + 1)
		if !ok {
			return -1
		}
		if next < 0 || p.end < next+size+2 {
			return 0
		}
		p.args = append(p.args, p.buf[next:next+size])
		at = next + size + 2
	}
	p.begin = at
	return 1
}

func (p *parser) room() []byte {
	if p.begin > 0 {
		p.end = copy(p.buf, p.buf[p.begin:p.end])
		p.begin = 0
	}
	if len(p.buf)-p.end < 2048 {
		p.buf = append(p.buf, make([]byte, max(2048, len(p.buf)))...)
	}
	return p.buf[p.end:]
}

func bulk(out, text []byte) []byte {
	out = append(out, '$')
	out = strconv.AppendInt(out, int64(len(text)), 10)
	out = append(out, '\r', '\n')
	out = append(out, text...)
	return append(out, '\r', '\n')
}

func integer(out []byte, n int64) []byte {
	out = append(out, ':')
	out = strconv.AppendInt(out, n, 10)
	return append(out, '\r', '\n')
}

func set(args [][]byte, now int64) bool {
	var expires int64
	if len(args) == 5 {
		n, err := strconv.ParseInt(string(args[4]), 10, 64)
		if err != nil {
			return false
		}
		switch strings.ToLower(string(args[3])) {
		case "ex":
			expires = now + n*1000
		case "px":
			expires = now + n
		default:
			return false
		}
	}
	text := bytes.Clone(args[2])
	s := shardOf(args[1])
	s.Lock()
	if e := s.keys[string(args[1])]; e != nil {
		*e = entry{text: text, expires: expires}
	} else {
		s.keys[string(args[1])] = &entry{text: text, expires: expires}
	}
	s.Unlock()
	return true
}

func execute(args [][]byte, out []byte, now int64) []byte {
	var room [16]byte
	name := append(room[:0], args[0]...)
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 32
		}
	}
	switch n := len(args); {
	case string(name) == "get" && n == 2:
		s := shardOf(args[1])
		s.Lock()
		if e := s.find(args[1], now); e != nil {
			out = bulk(out, e.text)
		} else {
			out = append(out, "$-1\r\n"...)
		}
		s.Unlock()
	case string(name) == "set" && (n == 3 || n == 5) && set(args, now):
		out = append(out, "+OK\r\n"...)
	case string(name) == "incr" && n == 2:
		s := shardOf(args[1])
		s.Lock()
		e := s.find(args[1], now)
		if e == nil {
			e = &entry{}
			s.keys[string(args[1])] = e
		}
		v, _ := strconv.ParseInt(string(e.text), 10, 64)
		e.text = strconv.AppendInt(e.text[:0], v+1, 10)
		s.Unlock()
		out = integer(out, v+1)
	case string(name) == "ping":
		out = append(out, "+PONG\r\n"...)
	case string(name) == "config":
		out = append(out, "*0\r\n"...)
	case string(name) == "dbsize":
		var size int
		for i := range keys {
			keys[i].Lock()
			size += len(keys[i].keys)
			keys[i].Unlock()
		}
		out = integer(out, int64(size))
	default:
		out = append(out, "-ERR unknown command\r\n"...)
	}
	return out
}

func serve(c net.Conn) {
	defer c.Close()
	var p parser
	var out []byte
	for {
		now := time.Now().UnixMilli()
		var done uint64
		for {
			found := p.next()
			if found < 0 {
				c.Write([]byte("-ERR Protocol error\r\n"))
				return
			}
			if found == 0 {
				break
			}
			if len(p.args) > 0 {
				out = execute(p.args, out, now)
				done++
			}
		}
		commands.Add(done)
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		n, err := c.Read(p.room())
		if err != nil {
			return
		}
		p.end += n
	}
}

func main() {
	port := flag.Int("port", 6379, "on loopback; 0: any")
	flag.Parse()
	for i := range keys {
		keys[i].keys = make(map[string]*entry)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("go-kv: ready on %s\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go serve(c)
	}
}
