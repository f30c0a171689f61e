// gort: signals, received from a channel.
//
//   auto sigs = gort::os::signals::on({SIGTERM, SIGINT}).value();
//   switch (gort::select(sigs.channel().on_recv(s), work.on_recv(w))) { ... }
//
// While a signals object for it exists, a signal does not do what it did before; then that is put back. Several objects
// may ask for the same signal: each gets it. As in Go a channel has room for a few, and what does not fit is dropped; a signal that
// comes several times before it is looked at counts once. The channel is closed when the object goes, or the run ends.
//
// Not to be had: SIGKILL, SIGSTOP, faults, and SIGURG, which the runtime uses (invalid_argument).
#pragma once

#include <csignal>  // SIGTERM and the like
#include <initializer_list>
#include <memory>
#include <optional>

#include "gort/chan.h"
#include "gort/config.h"
#include "gort/net/result.h"

namespace gort::inline v0::os {

class [[nodiscard]] signals {
 public:
  signals() noexcept;
  signals(signals&&) noexcept;
  signals& operator=(signals&&) noexcept;
  ~signals();

  /// From now on. At most 64 objects at a time (too_many_files_open).
  static net::result<signals> on(std::initializer_list<int> signos);
  chan<int> channel() const noexcept { return channel_; }
  /// As channel().recv().
  std::optional<int> recv() { return channel_.recv(); }

 private:
  struct state;
  std::unique_ptr<state> state_;
  chan<int> channel_;
};

}  // namespace gort::inline v0::os
