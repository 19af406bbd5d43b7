#!/usr/bin/env bash
# Builds the release binary of the last commit twice from nothing, each time in another folder and with another home of Cargo's, and compares the bytes.
#
# Usage: reproducible.sh [SCRATCH]
#   SCRATCH  default: a folder of TMPDIR, removed at the end; of one that is given, the two binaries stay
# Needs git, and all dependencies in Cargo's home (`cargo fetch --locked`): the second home is made from it, and both build offline. Takes as long
# as two release builds, one after the other, and 2 GB.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../..")
home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
# Both builds are of this one, whatever is committed meanwhile.
commit=$(git -C "$root" rev-parse HEAD)
if [ $# -gt 0 ]; then
    mkdir -p "$1"
    scratch=$(realpath "$1")
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi

# build NAME SOURCES CARGO_HOME
build() {
    git clone --quiet --no-hardlinks "$root" "$scratch/$2"
    git -C "$scratch/$2" checkout --quiet "$commit"
    CARGO_HOME=$3 "$scratch/$2/packaging/release.sh" --offline
    mv "$scratch/$2/target/release/fitment" "$scratch/fitment.$1"
    rm -rf "${scratch:?}/${2%%/*}"
}

build once sources "$home"
mkdir -p "$scratch/home/registry"
cp -r "$home/registry/cache" "$home/registry/index" "$scratch/home/registry/"
# Another length of path, so that sizes would differ too.
build again elsewhere/and/deeper/fitment "$scratch/home"
rm -rf "${scratch:?}/home"

rustc -vV | sed -n 's/^\(rustc\|host\|LLVM\)/\1/p'
(cd "$scratch" && sha256sum fitment.once fitment.again)
if strings -a "$scratch/fitment.once" | grep -F -e "$home/" -e "$scratch/" | head -n 3 | grep .; then
    echo "it says where it was built" >&2
    exit 1
fi
cmp "$scratch/fitment.once" "$scratch/fitment.again"
echo "the same bytes"
