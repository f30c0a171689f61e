// Names for the words of the runtime, in the tables and histories of runs that failed.
#include <cstdio>
#include <string>

#include "os/sim/sim.h"
#include "sched/g.h"
#include "sched/m.h"
#include "sched/p.h"
#include "sched/sched.h"
#include "tests/sim/scenario.h"
#include "world/world.h"

namespace gort::inline v0::rt {

namespace {

constexpr const char* kPStatus[] = {"idle", "running", "handed", "syscall", "stopped", "retired", "dead"};
constexpr const char* kGStatus[] = {"idle", "runnable", "running", "syscall", "waiting", "captive", "held", "dead"};
constexpr const char* kStopping[] = {"no", "in place", "at calls"};
constexpr const char* kBool[] = {"no", "yes"};
constexpr const char* kLock[] = {"free", "held", "held, slept on"};
constexpr const char* kNote[] = {"clear", "rung"};

using Values = std::span<const char* const>;

template <class T>
void name(const T& field, const char* what, Values values = {}) {
  os::sim_label(&field, sizeof field, what, values);
}

/// "P3.status" and its like.
struct Of {
  char text[24];
  Of(char kind, long long n, const char* field) {
    std::snprintf(text, sizeof text, "%c%lld%s%s", kind, n, field[0] != '\0' ? "." : "", field);
  }
};

void name_sched() {
  name(sched.lock, "sched.lock", kLock);
  name(sched.stopping, "sched.stopping", kStopping);
  name(sched.awaited, "sched.awaited");
  name(sched.stop_note, "sched.stop_note", kNote);
  name(sched.template_note, "sched.template_note", kNote);
  name(sched.sysmon_note, "sched.sysmon_note", kNote);
  name(sched.sysmon_wait, "sched.sysmon_wait", kBool);
  name(sched.dead_suspected, "sched.dead_suspected", kBool);
  name(sched.foreign_waiting, "sched.foreign_waiting");
  name(sched.npidle, "sched.npidle");
  name(sched.nprocs, "sched.nprocs");
  name(sched.nmspinning, "sched.nmspinning");
  name(sched.need_spinning, "sched.need_spinning", kBool);
  name(sched.global_size, "sched.global_size");
  name(sched.ncaptive, "sched.ncaptive");
  name(worldsema, "worldsema");
  name(gcsema, "gcsema");
}

void name_ps() {
  for (std::int32_t i = 0; i < kMaxProcs; ++i) {
    const P* p = p_at(i);
    if (p == nullptr) break;
    // The whole first: of several names the last counts.
    name(*p, Of('P', i, "").text);
    name(p->runq, Of('P', i, "runq").text);
    name(p->status, Of('P', i, "status").text, kPStatus);
    name(p->m, Of('P', i, "m").text);
    name(p->safe_point, Of('P', i, "safe_point").text);
    name(p->asleep, Of('P', i, "asleep").text);
    name(p->claimed, Of('P', i, "claimed").text, kBool);
    name(p->owner, Of('P', i, "owner").text);
    name(p->schedtick, Of('P', i, "schedtick").text);
  }
}

void name_ms_and_gs() {
  int n = 0;
  for (const M* m = sched.all_m.load(); m != nullptr && n < 12; m = m->all_next, ++n) {
    name(*m, Of('M', m->id, "").text);
    name(m->park, Of('M', m->id, "park").text, kNote);
    name(m->pending, Of('M', m->id, "pending").text);
    name(m->tid, Of('M', m->id, "tid").text);
  }
  n = 0;
  for (const G* g = sched.all_g.load(); g != nullptr && n < 24; g = g->all_next, ++n) {
    const auto id = static_cast<long long>(g->goid);
    name(*g, Of('G', id, "").text);
    name(g->status, Of('G', id, "status").text, kGStatus);
    name(g->wait_state.word, Of('G', id, "wait").text);
  }
}

}  // namespace

void name_runtime() {
  name_sched();
  name_ps();
  name_ms_and_gs();
}

}  // namespace gort::inline v0::rt
