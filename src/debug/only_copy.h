// gort: one copy per process.
//
// A program and a plugin that were both linked with the static library have a scheduler each: two sets of threads,
// signal handlers that chain into each other, thread-locals that disagree about whose thread this is. Nothing of
// that can work, so the second one that starts is refused, and both are named. Two copies of
// which one never starts do no harm.
//
// How they find each other: each copy carries an ELF note, which survives stripping and needs no exported
// symbol, with the distance to a word of its own; whoever starts says so in its word and then looks at the notes
// of all loaded modules. (A symbol that the loader makes unique would do only where it is exported, and
// programs export nothing by default; a name outside the process, a socket or a file, would outlive or precede it.)
#pragma once

namespace gort::inline v0::rt {

/// Fatal if another copy of gort has started in this process. Before anything is started; takes the loader's
/// lock. Two copies that start at the same moment may refuse each other.
void refuse_second_copy() noexcept;

}  // namespace gort::inline v0::rt
