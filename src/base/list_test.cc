#include "base/list.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "base/random.h"

namespace rt = gort::v0::rt;

namespace {

struct Item {
  int id = 0;
  Item* next = nullptr;
  Item* other = nullptr;
};
using Stack = rt::Stack1<Item, &Item::next>;
using Queue = rt::Queue1<Item, &Item::next>;

TEST(Stack1, LastInFirstOut) {
  Item a, b, c;
  Stack s;
  EXPECT_TRUE(s.empty());
  EXPECT_EQ(s.pop(), nullptr);
  s.push(&a), s.push(&b), s.push(&c);
  EXPECT_EQ(s.head(), &c);
  EXPECT_EQ(s.pop(), &c);
  EXPECT_EQ(c.next, nullptr) << "links of what left are cleared";
  EXPECT_EQ(s.pop(), &b);
  EXPECT_EQ(s.pop(), &a);
  EXPECT_TRUE(s.empty());
}

TEST(Stack1, RemoveAnywhere) {
  Item a, b, c, stranger;
  for (Item* gone : {&a, &b, &c}) {
    Stack s;
    s.push(&a), s.push(&b), s.push(&c);
    EXPECT_FALSE(s.remove(&stranger));
    EXPECT_TRUE(s.remove(gone));
    EXPECT_EQ(gone->next, nullptr);
    EXPECT_FALSE(s.remove(gone));
    std::vector<Item*> left;
    while (Item* t = s.pop()) left.push_back(t);
    std::vector<Item*> expected;
    for (Item* t : {&c, &b, &a}) {
      if (t != gone) expected.push_back(t);
    }
    EXPECT_EQ(left, expected);
  }
}

TEST(Lists, OneElementInTwoListsByTwoLinks) {
  Item a;
  Stack s;
  rt::Queue1<Item, &Item::other> q;
  s.push(&a), q.push_back(&a);
  EXPECT_EQ(s.pop(), &a);
  EXPECT_EQ(q.pop_front(), &a);
}

/// Random operations on two queues against std::deque.
TEST(Queue1, BehavesLikeADeque) {
  std::vector<Item> items(64);
  std::vector<Item*> free;
  for (Item& i : items) free.push_back(&i);
  Queue q[2];
  std::deque<Item*> model[2];
  rt::Random r(3);
  int appends = 0, emptied = 0;
  for (int step = 0; step < 50000; ++step) {
    const int k = int(r.below(2));
    switch (r.below(step % 1000 == 0 ? 8 : 6)) {
      case 0:
      case 1:
      case 2:
        if (free.empty()) break;
        if (r.below(3) != 0) {
          q[k].push_back(free.back()), model[k].push_back(free.back());
        } else {
          q[k].push_front(free.back()), model[k].push_front(free.back());
        }
        free.pop_back();
        break;
      case 6:
      case 7:
        ++appends;
        q[k].append(q[1 - k]);
        model[k].insert(model[k].end(), model[1 - k].begin(), model[1 - k].end());
        model[1 - k].clear();
        break;
      default: {
        Item* t = q[k].pop_front();
        ASSERT_EQ(t, model[k].empty() ? nullptr : model[k].front());
        if (t == nullptr) {
          ++emptied;
          break;
        }
        ASSERT_EQ(t->next, nullptr);
        model[k].pop_front();
        free.push_back(t);
      }
    }
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(q[i].size(), model[i].size());
      ASSERT_EQ(q[i].empty(), model[i].empty());
      ASSERT_EQ(q[i].head(), model[i].empty() ? nullptr : model[i].front());
    }
  }
  EXPECT_GT(appends, 0);
  EXPECT_GT(emptied, 0);
}

TEST(Queue1, AppendKeepsTheTailUsable) {
  Item a, b, c;
  Queue x, y;
  y.push_back(&a);
  x.append(y);
  EXPECT_TRUE(y.empty());
  x.push_back(&b);
  y.push_back(&c);
  x.append(y);
  x.append(y);  // empty: nothing
  EXPECT_EQ(x.size(), 3u);
  EXPECT_EQ(x.pop_front(), &a);
  EXPECT_EQ(x.pop_front(), &b);
  EXPECT_EQ(x.pop_front(), &c);
  EXPECT_EQ(x.pop_front(), nullptr);
}

}  // namespace
