// gort: what blocking operations throw when their goroutine's context has been cancelled.
//
// Deliberately not a std::exception: `catch (const std::exception&)` around a piece of work is meant for what went
// wrong in it, and must not swallow the order to stop. Let it pass; destructors run; the goroutine ends, and whoever
// cancelled finds it gone.
#pragma once

#include "gort/config.h"

namespace gort::inline v0 {

class cancelled {
 public:
  const char* what() const noexcept { return "gort: cancelled"; }
};

}  // namespace gort::inline v0
