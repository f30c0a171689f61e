// What the parts of user_program share.
#pragma once

namespace user {

/// Ends the program if it is not so.
void check(bool ok, const char* what);
/// Where the races on purpose are.
void write_it(int n);

void sync_clean();
void host_clean();
void race_channel();
void race_bubble();

}  // namespace user
