// gort: the CPU limit of the process's control groups.
//
// /proc/self/cgroup names the group, per hierarchy; /proc/self/mountinfo says where the hierarchy
// is mounted and which group is the mount's root (in a container often not "/"). The limit may be
// set in any ancestor, and each binds, so all of them up to the mount point are read and the
// tightest counts. Version 2 (one hierarchy, cpu.max) and version 1 (cpu.cfs_quota_us) may be in
// use side by side.
#include <cstddef>
#include <cstdint>

#include "os/linux/line_reader.h"
#include "os/linux/machine.h"
#include "os/linux/parse.h"
#include "os/os.h"

namespace gort::inline v0::os {
namespace {

enum class Version { v1, v2 };

/// A path in a fixed buffer. One that does not fit is empty from then on, and names no file.
struct Path {
  char text[1024] = {};
  std::size_t length = 0;
  bool overflow = false;

  void append(const char* s, std::size_t n) noexcept {
    if (overflow || n >= sizeof text - length) {
      overflow = true;
      length = 0;
    } else {
      for (std::size_t i = 0; i < n; ++i) text[length++] = s[i];
    }
    text[length] = '\0';
  }
  void append(const char* s) noexcept { append(s, __builtin_strlen(s)); }
  void cut(std::size_t n) noexcept { text[length = n] = '\0'; }
  bool is_root() const noexcept { return length == 1 && text[0] == '/'; }

  /// A field of mountinfo, in which blank, tab, newline and backslash are \ooo.
  void append_escaped_field(const char* p) noexcept {
    while (*p != '\0' && *p != ' ') {
      char c = *p++;
      if (c == '\\' && p[0] >= '0' && p[0] <= '3' && p[1] >= '0' && p[1] <= '7' && p[2] >= '0' &&
          p[2] <= '7') {
        c = static_cast<char>((p[0] - '0') * 64 + (p[1] - '0') * 8 + (p[2] - '0'));
        p += 3;
      }
      append(&c, 1);
    }
  }
};

bool list_has(const char* p, char end, const char* word) noexcept {
  const std::size_t n = __builtin_strlen(word);
  for (;;) {
    const char* item = p;
    while (*p != ',' && *p != end && *p != '\0') ++p;
    if (static_cast<std::size_t>(p - item) == n && __builtin_memcmp(item, word, n) == 0)
      return true;
    if (*p != ',') return false;
    ++p;
  }
}

/// The group's path in the hierarchy: "0::/a/b" in version 2, "4:cpu,cpuacct:/a/b" in version 1.
bool find_group(const char* root, Version version, Path* group) noexcept {
  Path file;
  file.append(root);
  file.append("/proc/self/cgroup");
  LineReader lines(file.text);
  while (const char* p = lines.next()) {
    const bool zero = p[0] == '0' && p[1] == ':';
    while (*p != ':' && *p != '\0') ++p;
    if (*p++ == '\0') continue;
    const char* controllers = p;
    while (*p != ':' && *p != '\0') ++p;
    if (*p++ == '\0') continue;
    const bool match =
        version == Version::v2 ? zero && controllers[0] == ':' : list_has(controllers, ':', "cpu");
    if (match) {
      group->append(p);
      return !group->overflow;
    }
  }
  return false;
}

/// Where the hierarchy is mounted, and the group that is the mount's root.
bool find_mount(const char* root, Version version, Path* mount_root, Path* mount_point) noexcept {
  Path file;
  file.append(root);
  file.append("/proc/self/mountinfo");
  LineReader lines(file.text);
  while (const char* p = lines.next()) {
    // id parent device root point options [optional...] - type source superoptions
    const char* root_field = next_field(next_field(next_field(p)));
    const char* point_field = next_field(root_field);
    const char* dash = next_field(point_field);
    while (*dash != '\0' && !field_is(dash, "-")) dash = next_field(dash);
    const char* type = next_field(dash);
    const char* super = next_field(next_field(type));
    const bool match = version == Version::v2
                           ? field_is(type, "cgroup2")
                           : field_is(type, "cgroup") && list_has(super, ' ', "cpu");
    if (match) {
      mount_root->append_escaped_field(root_field);
      mount_point->append_escaped_field(point_field);
      return !mount_root->overflow && !mount_point->overflow;
    }
  }
  return false;
}

/// The part of the group's path below the mount's root; "" where they do not fit together, as for a
/// process that was moved out of its namespace ("/../x"): then the mount point is all we can see.
const char* below_mount(const Path& group, const Path& mount_root) noexcept {
  const char* rest = group.text;
  if (!mount_root.is_root()) {
    if (__builtin_memcmp(group.text, mount_root.text, mount_root.length) != 0) return "";
    rest += mount_root.length;
    if (*rest != '/' && *rest != '\0') return "";
  }
  if (__builtin_strcmp(rest, "/") == 0 || __builtin_strncmp(rest, "/..", 3) == 0) return "";
  return rest;
}

bool read_number(Path* dir, const char* name, std::int64_t* out) noexcept {
  const std::size_t length = dir->length;
  dir->append(name);
  if (dir->overflow) return false;
  char text[32];
  const bool ok = read_file(dir->text, text, sizeof text) > 0;
  dir->cut(length);
  const char* p = text;
  return ok && parse_int(&p, out);
}

/// The limit that this very group sets, in thousandths of a processor; 0 if none.
std::int64_t own_limit(Path* dir, Version version) noexcept {
  std::int64_t quota = 0;
  std::int64_t period = 0;
  if (version == Version::v2) {
    const std::size_t length = dir->length;
    dir->append("/cpu.max");
    char text[64];
    if (dir->overflow) return 0;
    const bool ok = read_file(dir->text, text, sizeof text) > 0;
    dir->cut(length);
    const char* p = text;
    if (!ok || !parse_int(&p, &quota)) return 0;  // "max 100000"
    p = next_field(p);
    if (!parse_int(&p, &period)) return 0;
  } else {
    if (!read_number(dir, "/cpu.cfs_quota_us", &quota)) return 0;
    if (!read_number(dir, "/cpu.cfs_period_us", &period)) return 0;
  }
  if (quota <= 0 || period <= 0) return 0;  // version 1 says -1
  std::int64_t milli;
  if (__builtin_mul_overflow(quota, 1000, &milli)) return 0;
  milli /= period;
  return milli > 0 ? milli : 1;
}

/// The limit on processes and threads that this very group sets; 0 if none ("max").
std::int64_t own_pids_limit(Path* dir, Version) noexcept {
  std::int64_t n = 0;
  return read_number(dir, "/pids.max", &n) && n > 0 ? n : 0;
}

std::int64_t tightest(const char* root, Version version, std::int64_t (*limit_of)(Path*, Version) noexcept) noexcept {
  Path group;
  Path mount_root;
  Path dir;
  dir.append(root);
  if (!find_group(root, version, &group)) return 0;
  if (!find_mount(root, version, &mount_root, &dir)) return 0;
  const std::size_t top = dir.length;
  dir.append(below_mount(group, mount_root));
  if (dir.overflow) return 0;
  std::int64_t limit = 0;
  for (;;) {
    std::int64_t own = limit_of(&dir, version);
    if (own > 0 && (limit == 0 || own < limit)) limit = own;
    if (dir.length <= top) return limit;
    std::size_t n = dir.length;
    while (n > top && dir.text[n - 1] != '/') --n;
    dir.cut(n > top ? n - 1 : top);
  }
}

}  // namespace

std::int64_t cgroup_cpu_limit_milli(const char* root) noexcept {
  const std::int64_t a = tightest(root, Version::v2, own_limit);
  const std::int64_t b = tightest(root, Version::v1, own_limit);
  if (a == 0 || b == 0) return a + b;
  return a < b ? a : b;
}

// Version 1 keeps it in a hierarchy of its own, and is not looked for.
std::int64_t cgroup_pids_limit(const char* root) noexcept { return tightest(root, Version::v2, own_pids_limit); }

}  // namespace gort::inline v0::os
