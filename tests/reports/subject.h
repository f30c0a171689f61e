// gort: programs that die, and what they said. A subject is a function of the test program; run_subject
// starts the program again, in a process of its own, to run that function instead of the tests.
//
//   SUBJECT(sleeps) { gort::run([] { wait_for_ever(); }); }
//   TEST(Deadlock, Simple) { const Outcome o = run_subject("sleeps"); EXPECT_EQ(o.exit_code, 2); … }
#pragma once

#include <string>
#include <vector>

namespace gort::test {

struct Outcome {
  std::string out;     // stdout
  std::string err;     // stderr
  int exit_code = -1;  // -1: ended by a signal
  int signal = 0;

  std::string line(int n) const;  ///< of err, from 0
  bool says(const std::string& text) const { return err.find(text) != std::string::npos; }
  /// What comes after the addresses: functions, files and lines.
  std::string names() const;
  /// The part of names() that starts with the header of this goroutine, to the next empty line.
  std::string trace_of(const std::string& header) const;
};

struct How {
  std::vector<std::string> env = {};  ///< NAME=value
  int send = 0;                       ///< sent when the subject has called ready()
  int send_again_after_ms = 0;        ///< the same once more
};

/// Ended by SIGALRM after a minute.
Outcome run_subject(const std::string& name, const How& how = {});

/// In the subject: tells run_subject that the signal may come. Any thread, no malloc.
void ready();

struct Subject {
  Subject(const char* subject_name, void (*function)()) : name(subject_name), fn(function), next(first) { first = this; }
  const char* name;
  void (*fn)();
  Subject* next;
  static inline constinit Subject* first = nullptr;
};

}  // namespace gort::test

#define SUBJECT(name)                                                          \
  static void subject_##name();                                                \
  static const ::gort::test::Subject subject_entry_##name(#name, subject_##name); \
  static void subject_##name()
