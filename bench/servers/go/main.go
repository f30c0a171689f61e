// A key-value server of gort-kv's design in Go: one goroutine per connection, a buffered reader and writer, answers that
// are sent when nothing more has been received, a table in 64 parts with a lock each. What redis-benchmark's rows need of
// the protocol, and no more: PING, SET, GET, INCR, DEL, DBSIZE, CONFIG GET, COMMAND.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
)

const shards = 64

type shard struct {
	sync.Mutex
	values map[string][]byte
	_      [40]byte
}

type table struct {
	seed  maphash.Seed
	parts [shards]shard
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.parts {
		t.parts[i].values = map[string][]byte{}
	}
	return t
}

func (t *table) of(key []byte) *shard { return &t.parts[maphash.Bytes(t.seed, key)%shards] }

var errProtocol = errors.New("protocol")

type session struct {
	in   *bufio.Reader
	out  *bufio.Writer
	args [][]byte
	room []byte // what args point into
	num  []byte
}

func (s *session) integer(prefix byte) (int, error) {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[0] != prefix {
		return 0, errProtocol
	}
	n := 0
	for _, c := range line[1 : len(line)-2] {
		if c < '0' || c > '9' || n > 1<<29 {
			return 0, errProtocol
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// read gets the next command into s.args, which is good until the next one.
func (s *session) read() error {
	n, err := s.integer('*')
	if err != nil {
		return err
	}
	s.args, s.room = s.args[:0], s.room[:0]
	var ends [64]int
	if n == 0 || n > len(ends) {
		return errProtocol
	}
	for i := range n {
		size, err := s.integer('$')
		if err != nil {
			return err
		}
		from := len(s.room)
		if need := from + size + 2; need > cap(s.room) {
			s.room = append(make([]byte, 0, 2*need), s.room...)
		}
		s.room = s.room[:from+size+2]
		if _, err := io.ReadFull(s.in, s.room[from:]); err != nil {
			return err
		}
		s.room = s.room[:from+size]
		ends[i] = from + size
	}
	from := 0
	for _, end := range ends[:n] {
		s.args = append(s.args, s.room[from:end])
		from = end
	}
	return nil
}

func (s *session) bulk(b []byte) {
	s.num = append(strconv.AppendInt(append(s.num[:0], '$'), int64(len(b)), 10), '\r', '\n')
	s.out.Write(s.num)
	s.out.Write(b)
	s.out.WriteString("\r\n")
}

func (s *session) number(n int64) {
	s.num = append(strconv.AppendInt(append(s.num[:0], ':'), n, 10), '\r', '\n')
	s.out.Write(s.num)
}

func is(word []byte, upper string) bool {
	if len(word) != len(upper) {
		return false
	}
	for i := range word {
		if word[i]&^0x20 != upper[i] {
			return false
		}
	}
	return true
}

func (s *session) run(t *table) {
	args := s.args
	switch {
	case is(args[0], "SET") && len(args) >= 3:
		value := append([]byte(nil), args[2]...)
		p := t.of(args[1])
		p.Lock()
		p.values[string(args[1])] = value
		p.Unlock()
		s.out.WriteString("+OK\r\n")
	case is(args[0], "GET") && len(args) == 2:
		p := t.of(args[1])
		p.Lock()
		value, ok := p.values[string(args[1])] // never changed in place
		p.Unlock()
		if ok {
			s.bulk(value)
		} else {
			s.out.WriteString("$-1\r\n")
		}
	case is(args[0], "INCR") && len(args) == 2:
		p := t.of(args[1])
		p.Lock()
		n, err := strconv.ParseInt(string(p.values[string(args[1])]), 10, 64)
		if err == nil || len(p.values[string(args[1])]) == 0 {
			n++
			p.values[string(args[1])] = strconv.AppendInt(nil, n, 10)
		}
		p.Unlock()
		s.number(n)
	case is(args[0], "DEL") && len(args) == 2:
		p := t.of(args[1])
		p.Lock()
		_, ok := p.values[string(args[1])]
		delete(p.values, string(args[1]))
		p.Unlock()
		if ok {
			s.number(1)
		} else {
			s.number(0)
		}
	case is(args[0], "DBSIZE"):
		n := 0
		for i := range t.parts {
			t.parts[i].Lock()
			n += len(t.parts[i].values)
			t.parts[i].Unlock()
		}
		s.number(int64(n))
	case is(args[0], "PING"):
		s.out.WriteString("+PONG\r\n")
	case is(args[0], "CONFIG"), is(args[0], "COMMAND"):
		s.out.WriteString("*0\r\n")
	default:
		fmt.Fprintf(s.out, "-ERR unknown command '%s'\r\n", args[0])
	}
}

func serve(c net.Conn, t *table) {
	defer c.Close()
	s := &session{in: bufio.NewReaderSize(c, 16<<10), out: bufio.NewWriterSize(c, 16<<10)}
	for {
		if s.in.Buffered() == 0 && s.out.Flush() != nil {
			return
		}
		if err := s.read(); err != nil {
			if err == errProtocol {
				s.out.WriteString("-ERR Protocol error\r\n")
				s.out.Flush()
			}
			return
		}
		s.run(t)
	}
}

func main() {
	port := flag.Int("port", 0, "0: any that is free; it is printed")
	flag.Parse()
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(*port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready on", l.Addr())
	t := newTable()
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		go serve(c, t)
	}
}
