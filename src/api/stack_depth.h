// gort: how deep goroutines' stacks get, for metrics.
//
// The kernel knows which pages of a stack were ever touched; asking costs a system call per stack, too much for
// every goroutine's end and for every one of a million goroutines at each read. So each look takes a bounded number of
// goroutines, going on where the one before ended, and the deepest stack ever found is kept.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0::detail {

inline constexpr std::size_t kStacksPerLook = 4096;

/// Looks at the stacks of up to `most` more goroutines; the deepest that any call has found, in bytes. Any thread,
/// outside of the runtime: it takes up to a microsecond per stack and nobody waits for it.
std::uint64_t deepest_stack(std::size_t most) noexcept;

}  // namespace gort::inline v0::detail
