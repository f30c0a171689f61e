// gort: a full barrier on every processor that runs a thread of this process (membarrier(2)).
#include <linux/membarrier.h>

#include "os/linux/syscall.h"
#include "os/os.h"

namespace gort::inline v0::os {

bool process_barrier_init() noexcept {
  return kernel::call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void process_barrier() noexcept { kernel::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

}  // namespace gort::inline v0::os
