// A pipeline: each stage is a goroutine, channels between them give back-pressure, closing runs down the line.
#include <gort/gort.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace {

// What a stage may do with a channel shows in its type.
void read_words(gort::send_chan<std::string> out) {
  gort::closing done(out);
  for (const char* word : {"never", "odd", "or", "even", "level", "gort", "noon"}) out.send(word);
}

void keep_palindromes(gort::recv_chan<std::string> in, gort::send_chan<std::string> out) {
  gort::closing done(out);
  for (std::string word : in) {
    if (std::equal(word.begin(), word.end(), word.rbegin())) out.send(std::move(word));
  }
}

}  // namespace

int main() {
  return gort::run([] {
    gort::chan<std::string> words(2);
    gort::chan<std::string> found(2);
    gort::scope stages;
    stages.go(read_words, words);
    stages.go(keep_palindromes, words, found);
    for (const std::string& word : found) std::printf("%s\n", word.c_str());
    stages.join();  // rethrows what a stage threw
    return 0;
  });
}
// prints:
// level
// noon
