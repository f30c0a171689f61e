// Sockets: connections to the server, a goroutine for each.
#pragma once

#include <gort/net.h>
#include <gort/scope.h>

namespace kv {

class server;

/// Accepts connections and serves them in goroutines of `clients`, until the listener is closed.
void accept_clients(server& s, gort::net::listener& from, gort::scope& clients);
/// No more requests are read: connections end when they have answered those that are there.
void hang_up_all(server& s);

}  // namespace kv
