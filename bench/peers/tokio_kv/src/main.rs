//! The tokio peer of gort-kv: a server of the same design, as one would write it with tokio. One task for each connection,
//! 64 shards with a mutex each, strings with expiry; requests are parsed in place, answers of a pipeline are written
//! together. It has the commands that redis-benchmark's SET, GET, INCR and PING need.

use std::collections::hash_map::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SHARDS: usize = 64;

struct Entry {
    text: Vec<u8>,
    expires: i64, // ms since 1970; 0: never
}

type Shard = HashMap<Vec<u8>, Entry>;

struct Store {
    shards: Vec<Mutex<Shard>>,
    hash: RandomState,
}

impl Store {
    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        &self.shards[(self.hash.hash_one(key) >> 58) as usize]
    }
}

/// The key's entry, if its time is not up.
fn find<'a>(s: &'a mut Shard, key: &[u8], now: i64) -> Option<&'a mut Entry> {
    let over = matches!(s.get(key), Some(e) if e.expires != 0 && e.expires <= now);
    if over {
        s.remove(key);
    }
    s.get_mut(key)
}

/// Takes requests out of a buffer; a request's arguments are places in it.
#[derive(Default)]
struct Parser {
    buf: Vec<u8>,
    begin: usize,
    end: usize,
    args: Vec<Range<usize>>,
}

enum Next {
    Request,
    NeedMore,
    Broken,
}

impl Parser {
    /// Digits up to "\r\n" from `at` on: the number, and where the next line begins. None: not all is there.
    fn number(&self, at: usize) -> Result<Option<(usize, usize)>, ()> {
        let Some(nl) = self.buf[at..self.end].iter().position(|&c| c == b'\n') else {
            return Ok(None);
        };
        let mut line = &self.buf[at..at + nl];
        if let [rest @ .., b'\r'] = line {
            line = rest;
        }
        if line.is_empty() || line.len() > 9 {
            return Err(());
        }
        let mut n = 0;
        for &c in line {
            if !c.is_ascii_digit() {
                return Err(());
            }
            n = n * 10 + usize::from(c - b'0');
        }
        Ok(Some((n, at + nl + 1)))
    }

    fn array(&mut self) -> Result<Next, ()> {
        let Some((n, mut at)) = self.number(self.begin + 1)? else {
            return Ok(Next::NeedMore);
        };
        for _ in 0..n {
            if at >= self.end {
                return Ok(Next::NeedMore);
            }
            if self.buf[at] != b'$' {
                return Err(());
            }
            let Some((size, next)) = self.number(at + 1)? else {
                return Ok(Next::NeedMore);
            };
            if self.end < next + size + 2 {
                return Ok(Next::NeedMore);
            }
            self.args.push(next..next + size);
            at = next + size + 2;
        }
        self.begin = at;
        Ok(Next::Request)
    }

    fn next(&mut self) -> Next {
        self.args.clear();
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
            return Next::NeedMore;
        }
        if self.buf[self.begin] == b'*' {
            return self.array().unwrap_or(Next::Broken);
        }
        let Some(nl) = self.buf[self.begin..self.end].iter().position(|&c| c == b'\n') else {
            return Next::NeedMore;
        };
        let mut at = self.begin;
        for word in self.buf[self.begin..self.begin + nl].split(u8::is_ascii_whitespace) {
            if !word.is_empty() {
                self.args.push(at..at + word.len());
            }
            at += word.len() + 1;
        }
        self.begin += nl + 1;
        Next::Request
    }

    fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.buf.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.buf.len() - self.end < 2048 {
            let more = self.buf.len().max(2048);
            self.buf.resize(self.buf.len() + more, 0);
        }
        &mut self.buf[self.end..]
    }
}

fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    write!(out, "${}\r\n", text.len()).unwrap();
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn integer(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn set(store: &Store, args: &[&[u8]], now: i64) -> bool {
    let mut expires = 0;
    if args.len() == 5 {
        let Some(n) = integer(args[4]) else { return false };
        expires = match args[3].to_ascii_lowercase().as_slice() {
            b"ex" => now + n * 1000,
            b"px" => now + n,
            _ => return false,
        };
    }
    let entry = Entry { text: args[2].to_vec(), expires };
    let mut s = store.shard(args[1]).lock().unwrap();
    match s.get_mut(args[1]) {
        Some(e) => *e = entry,
        None => {
            s.insert(args[1].to_vec(), entry);
        }
    }
    true
}

fn execute(store: &Store, args: &[&[u8]], out: &mut Vec<u8>, now: i64) {
    let mut room = [0u8; 16];
    let n = args[0].len().min(16);
    room[..n].copy_from_slice(&args[0][..n]);
    room.make_ascii_lowercase();
    match (&room[..n], args.len()) {
        (b"get", 2) => {
            let mut s = store.shard(args[1]).lock().unwrap();
            match find(&mut s, args[1], now) {
                Some(e) => bulk(out, &e.text),
                None => out.extend_from_slice(b"$-1\r\n"),
            }
        }
        (b"set", 3 | 5) if set(store, args, now) => out.extend_from_slice(b"+OK\r\n"),
        (b"incr", 2) => {
            let mut s = store.shard(args[1]).lock().unwrap();
            let old = find(&mut s, args[1], now).and_then(|e| integer(&e.text)).unwrap_or(0);
            let text = (old + 1).to_string().into_bytes();
            match s.get_mut(args[1]) {
                Some(e) => e.text = text,
                None => {
                    s.insert(args[1].to_vec(), Entry { text, expires: 0 });
                }
            }
            write!(out, ":{}\r\n", old + 1).unwrap();
        }
        (b"ping", _) => out.extend_from_slice(b"+PONG\r\n"),
        (b"config", _) => out.extend_from_slice(b"*0\r\n"),
        (b"dbsize", _) => {
            let size: usize = store.shards.iter().map(|s| s.lock().unwrap().len()).sum();
            write!(out, ":{size}\r\n").unwrap();
        }
        _ => out.extend_from_slice(b"-ERR unknown command\r\n"),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

async fn serve(store: Arc<Store>, mut c: TcpStream) -> std::io::Result<()> {
    c.set_nodelay(true)?; // as Go's and gort's are
    let mut p = Parser::default();
    let mut out = Vec::new();
    loop {
        let now = now_ms();
        loop {
            match p.next() {
                Next::Broken => return c.write_all(b"-ERR Protocol error\r\n").await,
                Next::NeedMore => break,
                Next::Request if p.args.is_empty() => {}
                Next::Request => {
                    let mut room: [&[u8]; 8] = [&[]; 8];
                    let n = p.args.len().min(8);
                    for (to, from) in room.iter_mut().zip(&p.args) {
                        *to = &p.buf[from.clone()];
                    }
                    execute(&store, &room[..n], &mut out, now);
                }
            }
        }
        if !out.is_empty() {
            c.write_all(&out).await?;
            out.clear();
        }
        let n = c.read(p.room()).await?;
        if n == 0 {
            return Ok(());
        }
        p.end += n;
    }
}

async fn listen(port: u16) -> std::io::Result<()> {
    let store = Arc::new(Store {
        shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        hash: RandomState::new(),
    });
    let l = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("tokio-kv: ready on {}", l.local_addr()?);
    loop {
        match l.accept().await {
            Ok((c, _)) => {
                let store = store.clone();
                tokio::spawn(async move {
                    let _ = serve(store, c).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let port = match &words[1..] {
        [] => Some(6379),
        [flag, port] if flag == "--port" => port.parse().ok(),
        _ => None,
    };
    let Some(port) = port else {
        eprintln!("tokio_kv [--port N]");
        std::process::exit(2);
    };
    // A worker for each processor, as by default; max_procs and GOMAXPROCS have the same.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Err(e) = runtime.block_on(listen(port)) {
        eprintln!("tokio_kv: {e}");
        std::process::exit(1);
    }
}
