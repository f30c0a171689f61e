// OwnedP: every breach of its rules is caught, in every build. The idle list keeps what it is given.
#include "sched/owned_p.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>

#include "sched/sched.h"

namespace gort::rt {
namespace {

// Nothing but a named birth makes one, nothing but a named death ends one.
static_assert(!std::is_default_constructible_v<OwnedP>);
static_assert(!std::is_copy_constructible_v<OwnedP>);
static_assert(!std::is_copy_assignable_v<OwnedP>);
static_assert(!std::is_move_assignable_v<OwnedP>);
static_assert(std::is_nothrow_move_constructible_v<OwnedP>);
static_assert(!std::is_constructible_v<OwnedP, P*>);
static_assert(!std::is_copy_constructible_v<MaybeOwnedP>);
static_assert(!std::is_convertible_v<MaybeOwnedP, bool>);

/// The runtime does not run in these tests: the idle list is ours alone.
class OwnedPTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    LockGuard guard(sched.lock);
    sched.nprocs = 0;
    sched.idle_p = nullptr;
    sched.npidle.store(0);
  }
  static void idle(OwnedP p) {
    LockGuard guard(sched.lock);
    pidle_put(std::move(p));
  }
  static MaybeOwnedP get() {
    LockGuard guard(sched.lock);
    return pidle_get();
  }
  P one_{0};
  P two_{1};
};

TEST_F(OwnedPTest, TheAccountFollowsIt) {
  EXPECT_EQ(os::tls().owned, 0);
  {
    OwnedP p = own_new_p(&one_);
    EXPECT_EQ(os::tls().owned, 1);
    EXPECT_EQ(os::tls().locks, 1u);
    OwnedP moved = std::move(p);
    EXPECT_EQ(os::tls().owned, 1);
    EXPECT_EQ(moved->id, 0);
    MaybeOwnedP maybe(std::move(moved));
    ASSERT_TRUE(static_cast<bool>(maybe));
    EXPECT_EQ(os::tls().owned, 1);
    idle(maybe.take());
    EXPECT_FALSE(static_cast<bool>(maybe));
    EXPECT_EQ(os::tls().owned, 0);
    EXPECT_EQ(os::tls().locks, 0u);
  }
  EXPECT_EQ(os::tls().owned, 0);
}

TEST_F(OwnedPTest, TheIdleListIsAStackAndCounts) {
  idle(own_new_p(&one_));
  idle(own_new_p(&two_));
  EXPECT_EQ(sched.npidle.load(), 2);
  MaybeOwnedP a = get();
  MaybeOwnedP b = get();
  MaybeOwnedP none = get();
  ASSERT_TRUE(a && b);
  EXPECT_FALSE(static_cast<bool>(none));
  EXPECT_EQ(a->id, 1);
  EXPECT_EQ(b->id, 0);
  EXPECT_EQ(sched.npidle.load(), 0);
  EXPECT_EQ(os::tls().owned, 2);
  idle(a.take());
  idle(b.take());
  EXPECT_EQ(os::tls().owned, 0);
}

TEST_F(OwnedPTest, ASpinningOneThatFindsNoneIsRemembered) {
  sched.need_spinning.store(0);
  LockGuard guard(sched.lock);
  EXPECT_FALSE(static_cast<bool>(pidle_get_spinning()));
  EXPECT_EQ(sched.need_spinning.load(), 1u);
  sched.need_spinning.store(0);
}

TEST_F(OwnedPTest, TheFirstThatLeavesWakesADeeplySleepingMonitor) {
  idle(own_new_p(&one_));
  idle(own_new_p(&two_));
  sched.nprocs = 2;
  sched.sysmon_note.clear();
  sched.sysmon_wait.store(true);
  MaybeOwnedP a = get();
  EXPECT_TRUE(sched.sysmon_note.signaled());
  sched.sysmon_note.clear();
  MaybeOwnedP b = get();
  EXPECT_FALSE(sched.sysmon_note.signaled()) << "only the first one";
  sched.sysmon_wait.store(false);
  idle(a.take());
  idle(b.take());
}

TEST_F(OwnedPTest, RetakeTakesOutOfACallOnceOnly) {
  one_.status.store(PStatus::syscall);
  MaybeOwnedP first = retake_p(&one_);
  MaybeOwnedP second = retake_p(&one_);
  ASSERT_TRUE(static_cast<bool>(first));
  EXPECT_FALSE(static_cast<bool>(second));
  EXPECT_EQ(one_.status.load(), PStatus::idle);
  EXPECT_EQ(one_.syscalltick.load(), 1u);
  idle(first.take());
}

TEST_F(OwnedPTest, DroppingOneIsFatal) {
  EXPECT_EXIT({ OwnedP p = own_new_p(&one_); }, ::testing::ExitedWithCode(2), "a P was dropped");
  EXPECT_EXIT({ MaybeOwnedP p = own_new_p(&one_); }, ::testing::ExitedWithCode(2), "a P was dropped");
}

TEST_F(OwnedPTest, GivingOneAwayTwiceIsFatal) {
  EXPECT_EXIT(
      {
        OwnedP p = own_new_p(&one_);
        OwnedP q = std::move(p);
        idle(std::move(q));
        idle(std::move(p));
      },
      ::testing::ExitedWithCode(2), "used after it was given away");
  EXPECT_EXIT(
      {
        MaybeOwnedP none;
        idle(none.take());
      },
      ::testing::ExitedWithCode(2), "there is no P to take");
}

TEST_F(OwnedPTest, APWithGoroutinesIsNotPutOnTheIdleList) {
  EXPECT_EXIT(
      {
        G g;
        static_cast<void>(one_.runq.put(&g));
        idle(own_new_p(&one_));
      },
      ::testing::ExitedWithCode(2), "with goroutines on its queue is put on the idle list");
}

}  // namespace
}  // namespace gort::rt
