// gort: the testable halves of os::cpu_count and os::cgroup_cpu_limit_milli.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::os {

/// Asks for the affinity mask into a buffer of `bytes`: the bytes filled, or -errno (EINVAL: too
/// small).
using AffinityFn = long (*)(unsigned long* mask, std::size_t bytes);

/// Processors in the mask; the buffer grows until the kernel is content. 1 if it cannot be read.
int count_cpus(AffinityFn ask) noexcept;

/// os::cgroup_cpu_limit_milli with every path taken below `root` ("" for the real files).
std::int64_t cgroup_cpu_limit_milli(const char* root) noexcept;
/// os::cgroup_pids_limit, likewise.
std::int64_t cgroup_pids_limit(const char* root) noexcept;

}  // namespace gort::inline v0::os
