// gort: the runtime around a program's main function.
//
//   int main() { return gort::run([] { …; return 0; }); }
//
// run() starts the process-wide runtime if it does not run yet, runs f in a goroutine with the thread's usual
// stack size, and blocks the calling thread until f has returned; then it gives f's result, or rethrows what
// f threw. It may be called again, from any thread, also at the same time. Inside a goroutine it is a plain
// call of f, and the options mean nothing.
//
// When the last run returns, the other goroutines are cancelled, with cause run_ended, and given options.grace to end
// as long as any of them can still run; those left over are reported by name and never run again, so that static
// destructors meet no running goroutine. The destructors of their tasks and scopes do not wait for them; get(), join() and
// wait() would, for ever. What is started while no run is in progress (by static constructors, say) belongs to the next
// one. At exit, after the last run, everything still works.
//
// fork, once the runtime has started: the child has none of the goroutines. It may exec, _exit and allocate. It may call exit,
// too: destructors of gort's objects do nothing there, so connections, child processes and files' names stay the parent's. Any
// other call into gort is a fatal error that says so. (gort/os/process.h starts programs; before the first use of gort, fork
// is what it always was.)
//
// The start opens /dev/null as each of the standard descriptors that is closed, for the runtime's own descriptors come next
// and reports go to number 2. It changes nothing else of the process but signal handlers (docs/preemption.md).
#pragma once

#include <chrono>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "gort/config.h"
#include "gort/detail/goroutine.h"

namespace gort::inline v0 {

/// Environment over code: GORT_MAXPROCS and GORT_MAXTHREADS win over these. docs/settings.md has all variables.
struct run_options {
  /// Number of Ps, at most 1024. Set at the first start and by every run that begins while no other is in progress.
  /// 0: at the first start the processors of the affinity mask within the cgroup's limit, which are looked at again now
  /// and then; at later ones as it is.
  int max_procs = 0;
  int max_threads = 0;             ///< thread limit, of the first start; 0: 10000. Exceeding it is fatal
  std::chrono::nanoseconds grace = std::chrono::seconds(5);  ///< for goroutines left at the end
  bool quiet = false;              ///< no report of goroutines left over
};

namespace detail {
bool on_goroutine() noexcept;
/// Runs fn(arg) on a main goroutine, blocks until task_finish(done), then ends the run.
void run_main(const run_options& options, void (*fn)(void*), void* arg, task_core* done, const void* created_by);
}  // namespace detail

template <class F>
  requires std::invocable<F&>
[[gnu::noinline]] std::invoke_result_t<F&> run(const run_options& options, F&& f) {
  using T = std::invoke_result_t<F&>;
  if (detail::on_goroutine()) return f();
  struct frame {
    detail::task_state<T> state;
    std::remove_reference_t<F>* f;
  } frame{{}, std::addressof(f)};
  detail::run_main(
      options,
      [](void* p) {
        auto* fr = static_cast<struct frame*>(p);
        bool finished = true;
        try {
          fr->state.run(*fr->f);
        } catch (const detail::goexit_signal&) {
          finished = false;  // the program goes on without its main goroutine, as in Go
        } catch (...) {
          fr->state.error = std::current_exception();
        }
        detail::goroutine_ends();
        if (finished) detail::task_finish(&fr->state);
      },
      &frame, &frame.state, __builtin_return_address(0));
  return frame.state.take();
}

template <class F>
  requires std::invocable<F&>
[[gnu::noinline]] std::invoke_result_t<F&> run(F&& f) {
  return run(run_options{}, std::forward<F>(f));
}

/// Starts the runtime without running anything, for programs whose main thread belongs to somebody else.
/// Does nothing if it runs. `options.grace` is ignored.
void start(const run_options& options = {});

}  // namespace gort::inline v0
