// gort: contexts as the API layer handles them: who has which, and who destroys what users have put there.
#pragma once

#include "gort/context.h"
#include "sched/runs.h"
#include "sync/context.h"

namespace gort::inline v0::detail {

inline rt::Context* to_rt(context_node* c) noexcept { return reinterpret_cast<rt::Context*>(c); }
inline const rt::Context* to_rt(const context_node* c) noexcept { return reinterpret_cast<const rt::Context*>(c); }
inline context_node* from_rt(rt::Context* c) noexcept { return reinterpret_cast<context_node*>(c); }

/// The caller's current context; null: the background of a foreign thread. Outside the runtime or in it.
rt::Context* current_context() noexcept;
/// Likewise; for what it starts: a foreign thread's background is that of the run in progress.
rt::Context* context_for_children() noexcept;

/// The background of the caller's run, for what must outlast the caller's context. Outside the runtime.
gort::context background() noexcept;

/// Makes sure that what is above it reaches it. Outside the runtime.
void context_seen(rt::Context* c) noexcept;

std::error_code cause_of(const rt::Context* c) noexcept;
rt::CancelCause to_cause(std::error_code cause) noexcept;

/// The goroutine that has this context leaves it for the background. Outside the runtime; on a goroutine.
void leave_context(rt::G* g) noexcept;

extern const rt::BackgroundHooks background_hooks;

}  // namespace gort::inline v0::detail
