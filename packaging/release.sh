#!/usr/bin/env bash
# Builds the release binary so that the same commit, toolchain and C library give the same bytes, wherever the sources and Cargo's home lie.
#
# Usage: release.sh [CARGO_ARGUMENT...], for example release.sh --offline
#   CARGO_TARGET_DIR   default: target in the workspace
#   SOURCE_DATE_EPOCH  default: the time of the last commit
# Prints the binary's sha256 and path.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

cd "$(dirname "$(realpath "$0")")/.."
root=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
sysroot=$(rustc --print sysroot)
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

# Flags of the person who builds would be other bytes.
for name in RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CFLAGS CXXFLAGS RUSTC_WRAPPER CARGO_BUILD_TARGET; do
    [ -z "${!name:-}" ] || { echo "$name is set: unset it" >&2; exit 2; }
done

# What says where something lay says it with these names instead: panic messages, and assertions of the libraries in C. Later ones win.
maps=("$root=/fitment" "$home=/cargo" "$target=/target" "$sysroot/lib/rustlib/src/rust=/rustc/$commit")
rust=("--remap-path-prefix=${maps[0]}") c=("-ffile-prefix-map=${maps[0]}")
for map in "${maps[@]:1}"; do
    rust+=("--remap-path-prefix=$map")
    c+=("-ffile-prefix-map=$map")
done
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf %s "${rust[*]}")
export CARGO_ENCODED_RUSTFLAGS
export CFLAGS="${c[*]}" CXXFLAGS="${c[*]}"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$target

cargo build --release --locked --package fitment --bin fitment "$@"
sha256sum "$target/release/fitment"
