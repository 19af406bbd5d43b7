#!/usr/bin/env bash
# Makes the Debian package of a built binary. The same binary, files and SOURCE_DATE_EPOCH give the same bytes.
#
# Usage: build.sh BINARY OUT_DIR [SBOM]
#   SOURCE_DATE_EPOCH  seconds; default: the time of the last commit
#   DEB_REVISION       default: 1
#   MAINTAINER         default: Fitment <fitment@example.org>
# Needs dpkg-deb and binutils. Prints the package's path.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

binary=$(realpath "$1")
out=$(realpath "$2")
sbom=${3:+$(realpath "$3")}
cd "$(dirname "$0")"
root=$(git rev-parse --show-toplevel)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
maintainer=${MAINTAINER:-Fitment <fitment@example.org>}
version=$("$binary" --version | cut -d' ' -f2)-${DEB_REVISION:-1}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

# add MODE FROM TO: one file of the package.
add() {
    install -D -m "$1" "$2" "$tree/$3"
}

add 755 "$binary" usr/bin/fitment
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree/usr/bin/fitment"
add 644 ../systemd/fitment.service usr/lib/systemd/system/fitment.service
add 644 ../systemd/sysusers.conf usr/lib/sysusers.d/fitment.conf
add 644 fitment.toml etc/fitment/fitment.toml
install -d "$tree/etc/fitment/tls"

# What the binary says of itself.
completions=usr/share/bash-completion/completions
install -d "$tree/$completions" "$tree/usr/share/zsh/vendor-completions" "$tree/usr/share/fish/vendor_completions.d" \
    "$tree/usr/share/man/man1"
"$binary" completions bash >"$tree/$completions/fitment"
"$binary" completions zsh >"$tree/usr/share/zsh/vendor-completions/_fitment"
"$binary" completions fish >"$tree/usr/share/fish/vendor_completions.d/fitment.fish"
"$binary" man --out "$tree/usr/share/man/man1"
gzip -9n "$tree"/usr/share/man/man1/*.1

doc=usr/share/doc/fitment
add 644 copyright "$doc/copyright"
add 644 README.Debian "$doc/README.Debian"
for page in "$root"/docs/*.md; do
    add 644 "$page" "$doc/manual/$(basename "$page")"
done
for picture in "$root"/docs/images/*; do
    add 644 "$picture" "$doc/manual/images/$(basename "$picture")"
done
if [ -n "$sbom" ]; then
    add 644 "$sbom" "$doc/fitment.cdx.json"
fi
add 644 "$root/CHANGELOG.md" "$doc/changelog"
gzip -9n "$tree/$doc/changelog"
printf 'fitment (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$tree/$doc/changelog.Debian.gz"

# The newest version of the C library whose symbols the binary asks for.
glibc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | cut -d_ -f2 | sort -uV | tail -n 1)
case $(objdump -f "$binary" | sed -n 's/^architecture: \([^,]*\),.*/\1/p') in
i386:x86-64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(dpkg --print-architecture) ;;
esac

control="$tree/DEBIAN"
install -d "$control"
cat >"$control/control" <<END
Package: fitment
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)
Depends: libc6 (>= $glibc), libgcc-s1, systemd | systemd-standalone-sysusers | adduser
Section: net
Priority: optional
Description: answers intents with certified components
 A daemon that takes an intent in plain language and answers, over gRPC, with
 the organisation's certified component that meets it and with how little must
 still be generated. It runs on one machine and opens no connections.
 .
 The package holds no model: README.Debian says how one comes in.
END
echo /etc/fitment/fitment.toml >"$control/conffiles"
install -m 755 postinst prerm postrm "$control/"
(cd "$tree" && find . -type f -not -path './DEBIAN/*' -not -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$control/md5sums"

package="$out/fitment_${version}_$architecture.deb"
# xz on one thread: with several the bytes depend on their number.
dpkg-deb --root-owner-group --threads-max=1 -Zxz -z6 --build "$tree" "$package" >/dev/null
echo "$package"
