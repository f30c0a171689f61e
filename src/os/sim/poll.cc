// gort simulator: there is no network in it. Whoever asks for a poller is told so.
#include "os/poll.h"

#include <errno.h>

namespace gort::inline v0::os {

int poll_create() noexcept { return -ENOSYS; }
int poll_add(int, int, bool, std::uint64_t) noexcept { return -ENOSYS; }
int poll_modify(int, int, bool, std::uint64_t) noexcept { return -ENOSYS; }
int poll_add_level(int, int, std::uint64_t) noexcept { return -ENOSYS; }
int poll_remove(int, int) noexcept { return -ENOSYS; }
int poll_wait(int, PollEvent*, std::int64_t) noexcept { return -ENOSYS; }
int bell_create() noexcept { return -ENOSYS; }
void bell_ring(int) noexcept {}
void bell_clear(int) noexcept {}
void fd_close(int) noexcept {}

}  // namespace gort::inline v0::os
