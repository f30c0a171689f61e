// gort: pipes. Their ends are connections (gort/net/conn.h): reads and writes park the goroutine, close wakes it.
//
// Writing to a pipe that nobody reads gives broken_pipe: the first end that gort makes or adopts has SIGPIPE ignored, if its
// action was the default one (child processes get the default back).
#pragma once

#include "gort/net/conn.h"

namespace gort::inline v0::os {

struct pipe_ends {
  net::conn reader;
  net::conn writer;
};
net::result<pipe_ends> pipe();

}  // namespace gort::inline v0::os
