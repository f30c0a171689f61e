// gort: the network, in blocking style. A call that would have to wait parks its goroutine; the thread goes on with others.
//
//   gort::go([] {
//     gort::net::listener l = gort::net::listen("127.0.0.1:6379").value();
//     for (;;) {
//       auto c = l.accept();
//       if (!c) break;                                     // closed, or cancelled
//       gort::go([c = *std::move(c)]() mutable {
//         char buf[4096];
//         while (auto n = c.read_some(buf)) {              // 0 bytes: the peer has sent all that it will
//           if (*n == 0 || !c.write_all(std::string_view(buf, *n))) break;
//         }
//       });                                                // c's destructor closes
//     }
//   });
//
//   header             has
//   net/result.h       result<T>, what errors mean
//   net/buffer.h       buffer, const_buffer: bytes to be read into and to be written
//   net/address.h      address: IP and port, or a path
//   net/conn.h         conn and its halves: TCP and Unix streams, pipes' ends, adopted descriptors
//   net/listener.h     listen, listener
//   net/dial.h         dial, resolve
//   net/datagram.h     datagram: UDP and Unix datagrams
//   net/buffered.h     buffered_reader, buffered_writer
//
// docs/net.md has the whole picture.
#pragma once

#include "gort/net/address.h"
#include "gort/net/buffer.h"
#include "gort/net/buffered.h"
#include "gort/net/conn.h"
#include "gort/net/datagram.h"
#include "gort/net/dial.h"
#include "gort/net/listener.h"
#include "gort/net/result.h"
