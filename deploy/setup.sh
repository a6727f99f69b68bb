#!/bin/sh
# Installs what the build needs beyond Rust (a C++ compiler, libclang), and says so before the long part.
# Usage: setup.sh TARGET_DIR [run|tests]
#   run, tests: the other programs too that the demonstration or the tests start; see tools.sh
set -eu

missing=""
command -v c++ >/dev/null || missing="$missing g++"
find /usr/lib /usr/lib64 -name 'libclang*.so*' 2>/dev/null | grep -q . || missing="$missing libclang-dev"

if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    if ! command -v apt-get >/dev/null; then
        echo "setup: there is no apt-get here: install a C++ compiler and libclang by hand, then run this again" >&2
        exit 1
    fi
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! ls "$1"/release/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1; then
    echo "setup: the first build compiles RocksDB's C++ into $1: 15 to 30 CPU minutes, once on this machine"
fi

# Cargo tells a fresh artifact by the times of the sources alone, so another clone's newer build would pass for this one's.
root=$(cd "$(dirname "$0")/.." && pwd)
marker="$1/built-from"
mkdir -p "$1"
if [ "$(cat "$marker" 2>/dev/null)" != "$root" ]; then
    find "$root/ledger" "$root/raft" "$root/api" "$root/cli" "$root/sim" "$root/events" "$root/services" -name '*.rs' -exec touch {} +
    echo "$root" >"$marker"
fi

if [ -n "${2-}" ]; then
    "$root/deploy/tools.sh" "$1/tools" "$2"
fi
