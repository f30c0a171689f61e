#!/bin/sh
# Cross-compiles src/arch for aarch64 and runs tests/arch/aarch64_check.cc under qemu's user
# emulation, at three optimization levels, with and without branch protection and frame pointers.
# Exit code 77 means skipped: a tool is missing, and it is named.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cxx=${GORT_AARCH64_CXX:-aarch64-linux-gnu-g++}
qemu=${GORT_AARCH64_QEMU:-qemu-aarch64}
sysroot=${GORT_AARCH64_SYSROOT:-/usr/aarch64-linux-gnu}
for tool in "$cxx" "$qemu"; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
[ -d "$sysroot" ] || { echo "skipped: no aarch64 libraries in $sysroot"; exit 77; }

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
core="-fno-exceptions -fno-rtti -fno-threadsafe-statics -fasynchronous-unwind-tables"
common="-std=gnu++23 -Wall -Wextra -Wshadow -Werror -g -fPIC -fvisibility=hidden -I$root/src"

for flags in "-O0" "-O2 -mbranch-protection=standard" "-O2 -fomit-frame-pointer" "-O3 -flto"; do
  echo "aarch64: $flags"
  objects=
  for source in "$root"/src/arch/*.cc "$root"/src/arch/aarch64/*.S; do
    case $source in *_test.cc | *_bench.cc) continue ;; esac
    object=$out/$(basename "$source").o
    # shellcheck disable=SC2086  # flags are words
    case $source in
      *.S) "$cxx" -c "$source" -o "$object" ;;
      *) "$cxx" $common $flags $core -c "$source" -o "$object" ;;
    esac
    objects="$objects $object"
  done
  # shellcheck disable=SC2086
  "$cxx" $common $flags -DGORT_CHECK_OWN_MEMORY "$root/tests/arch/aarch64_check.cc" $objects \
    -o "$out/check"
  timeout 120 "$qemu" -L "$sysroot" "$out/check"
done
