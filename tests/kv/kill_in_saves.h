// kill -9 in the middle of saves.
#pragma once

namespace kv_test {

/// Kills a server at a random moment of a save, `rounds` times over the same file: every round finds the last save whole, or
/// the one that was under way.
void kill_in_saves(int rounds);

}  // namespace kv_test
