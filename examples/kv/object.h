// The five kinds of values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "memory.h"
#include "table.h"

namespace kv {

enum class type : std::uint8_t { string, list, hash, set, zset };
std::string_view name_of(type t) noexcept;

/// A value. Read by many, written only while one reference to it exists (memory.h).
class object : public counted {
 public:
  virtual kv::type type() const noexcept = 0;
  virtual ref<object> clone() const = 0;
  /// An estimate of its memory. O(1).
  virtual std::size_t bytes() const noexcept = 0;
  /// Empty collections do not exist: their key goes with the last element.
  virtual bool empty() const noexcept = 0;
  /// What OBJECT ENCODING says. Clients of Redis know its names; ours stand for the nearest one.
  virtual std::string_view encoding() const noexcept = 0;
};

/// What a string has allocated.
inline std::size_t heap_bytes(const std::string& s) noexcept {
  return s.capacity() > 15 ? s.capacity() + 1 : 0;
}

template <class Self, type Type>
class object_of : public object {
 public:
  static constexpr kv::type the_type = Type;
  kv::type type() const noexcept final { return Type; }
  ref<object> clone() const final { return make<Self>(static_cast<const Self&>(*this)); }
};

struct string_object final : object_of<string_object, type::string> {
  string_object() = default;
  explicit string_object(std::string_view t) : text(t) {}
  std::string text;

  std::size_t bytes() const noexcept override { return sizeof *this + heap_bytes(text); }
  bool empty() const noexcept override { return false; }  // "" is a value
  std::string_view encoding() const noexcept override;
};

struct list_object final : object_of<list_object, type::list> {
  void push_front(std::string_view s) { counted_in(items.emplace_front(s)); }
  void push_back(std::string_view s) { counted_in(items.emplace_back(s)); }
  std::string pop_front() {
    std::string s = std::move(items.front());
    text_bytes -= heap_bytes(s);
    items.pop_front();
    return s;
  }
  std::string pop_back() {
    std::string s = std::move(items.back());
    text_bytes -= heap_bytes(s);
    items.pop_back();
    return s;
  }
  /// After changes made to `items` directly. O(elements).
  void recount() noexcept {
    text_bytes = 0;
    for (const std::string& s : items) counted_in(s);
  }
  std::deque<std::string> items;
  std::size_t text_bytes = 0;

  std::size_t bytes() const noexcept override {
    return sizeof *this + 576 + items.size() * sizeof(std::string) + text_bytes;
  }
  bool empty() const noexcept override { return items.empty(); }
  std::string_view encoding() const noexcept override {
    return items.size() <= 128 ? "listpack" : "quicklist";
  }

 private:
  void counted_in(const std::string& s) noexcept { text_bytes += heap_bytes(s); }
};

struct hash_object final : object_of<hash_object, type::hash> {
  /// True: the field is new.
  bool set(std::string_view field, std::string_view value) {
    auto [n, made] = fields.find_or_insert(field);
    text_bytes -= heap_bytes(n->value);
    n->value = value;
    text_bytes += heap_bytes(n->value);
    return made;
  }
  bool erase(std::string_view field) {
    auto* n = fields.find(field);
    if (n == nullptr) return false;
    text_bytes -= heap_bytes(n->value);
    fields.erase(n);
    return true;
  }
  const std::string* get(std::string_view field) const noexcept {
    const auto* n = fields.find(field);
    return n == nullptr ? nullptr : &n->value;
  }
  table<std::string> fields;
  std::size_t text_bytes = 0;

  std::size_t bytes() const noexcept override { return sizeof *this + fields.bytes() + text_bytes; }
  bool empty() const noexcept override { return fields.empty(); }
  std::string_view encoding() const noexcept override {
    return fields.size() <= 128 ? "listpack" : "hashtable";
  }
};

struct nothing {};

struct set_object final : object_of<set_object, type::set> {
  bool add(std::string_view member) { return members.find_or_insert(member).second; }
  bool erase(std::string_view member) { return members.erase(member); }
  bool has(std::string_view member) const noexcept { return members.find(member) != nullptr; }
  table<nothing> members;

  std::size_t bytes() const noexcept override { return sizeof *this + members.bytes(); }
  bool empty() const noexcept override { return members.empty(); }
  std::string_view encoding() const noexcept override;
};

}  // namespace kv
