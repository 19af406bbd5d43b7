#!/usr/bin/env bash
# Installs the Debian package on a clean root, serves from it, installs it again, removes it.
#
# Usage: install.sh PACKAGE MODELS [ROOT_TAR]
#   MODELS    a folder as `fitment model import` leaves it, and holds all-MiniLM-L6-v2
#   ROOT_TAR  a root file system to start from; without it mmdebstrap makes a minimal one of the release that runs here
# Needs root, mmdebstrap, iproute2, openssl. No systemd runs in the root: the daemon is started by the unit's own ExecStart= as its user.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
package=$(realpath "$1") models=$(realpath "$2") tar=${3:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Others than root must get through to the root file system.
chmod 755 "$scratch"
root="$scratch/root"

if [ -z "$tar" ]; then
    tar="$scratch/root.tar"
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # The smallest that dpkg calls a system; man-db and the shells' completion are not in it.
    timeout 300 mmdebstrap --quiet --variant=minbase --include=systemd-standalone-sysusers "$release" "$tar"
fi
mkdir "$root"
tar -xf "$tar" -C "$root" --exclude './dev/*'
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/urandom" c 1 9
inside=(chroot "$root")

cp "$package" "$root/fitment.deb"
"${inside[@]}" dpkg -i /fitment.deb | tail -n 2
"${inside[@]}" dpkg --verify fitment
# shellcheck disable=SC2016  # dpkg's own variables
status=$("${inside[@]}" dpkg-query -W -f '${Status} ${Version} ${Conffiles}' fitment)
echo "$status"
grep -q 'install ok installed.* /etc/fitment/fitment.toml' <<<"$status"
stat -c '%U:%G %a %n' "$root/var/lib/fitment" >/dev/null
[ "$("${inside[@]}" stat -c '%U:%G %a' /var/lib/fitment)" = "fitment:fitment 750" ]
[ "$("${inside[@]}" stat -c '%U:%G %a' /etc/fitment/tls)" = "root:fitment 750" ]
echo "user: $("${inside[@]}" getent passwd fitment)"
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/fitment.service" ] || { echo "it was enabled" >&2; exit 1; }

# Every command that help names has a page, and every page can be read.
pages="$root/usr/share/man/man1"
commands() {
    "${inside[@]}" fitment "$@" --help | sed -n '/^Commands:/,/^[A-Z]/s/^  \([a-z-]*\) .*/\1/p' | grep -vx help
}
count=0
check_pages() {
    local name
    for name in $(commands "$@"); do
        [ -s "$pages/fitment$(printf -- '-%s' "$@" "$name").1.gz" ] || { echo "no page of: $* $name" >&2; exit 1; }
        count=$((count + 1))
        check_pages "$@" "$name"
    done
}
check_pages
echo "$count commands, $(find "$pages" -name 'fitment*.1.gz' | wc -l) pages"
for shell in bash-completion/completions/fitment zsh/vendor-completions/_fitment fish/vendor_completions.d/fitment.fish; do
    grep -q fitment "$root/usr/share/$shell"
done
bash -n "$root/usr/share/bash-completion/completions/fitment"

"${inside[@]}" fitment --config /etc/fitment/fitment.toml config check
# What serves before a model is there ends with a code that the unit does not start again after.
# shellcheck disable=SC2016  # the root's own shell
user=$("${inside[@]}" sh -c 'echo "$(id -u fitment):$(id -g fitment)"')
code=0
chroot --userspec="$user" "$root" fitment serve --config /etc/fitment/fitment.toml 2>/dev/null >&2 || code=$?
grep '^RestartPreventExitStatus=' "$root/usr/lib/systemd/system/fitment.service" | grep -qw "$code"
echo "without a model: code $code"

cp -r "$models/all-MiniLM-L6-v2" "$root/tmp/model"
chmod -R a+rX "$root/tmp/model"
chroot --userspec="$user" "$root" fitment --config /etc/fitment/fitment.toml model import /tmp/model --name all-MiniLM-L6-v2 | tail -n 1

start=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/fitment.service")
read -ra command <<<"$start"
"$here/in_network_of_its_own.sh" "$here/serve_and_match.sh" "$root" "$user" "${command[@]}"

# The same with TLS and an access document, as README.Debian has it; only the lines that the configuration brings along are switched on.
"$here/credentials.sh" "$root/usr/bin/fitment" "$root/etc/fitment/tls"
mv "$root/etc/fitment/tls/access.yaml" "$root/etc/fitment/"
chown -R "root:${user#*:}" "$root/etc/fitment/tls" "$root/etc/fitment/access.yaml"
chmod 640 "$root/etc/fitment/tls/"{tls.crt,tls.key,ca.crt,api-key} "$root/etc/fitment/access.yaml"
sed -i -E '/^#\[(tls|access)\]/,/^$/s/^#(\[|[a-z_]+ = )/\1/' "$root/etc/fitment/fitment.toml"
"${inside[@]}" fitment --config /etc/fitment/fitment.toml config check
GUARD=/etc/fitment/tls "$here/in_network_of_its_own.sh" "$here/serve_and_match.sh" "$root" "$user" "${command[@]}"
rm -r "$root/etc/fitment/tls/"* "$root/etc/fitment/access.yaml"

# Installed once more, it keeps what was changed and what was stored.
echo '# ours' >>"$root/etc/fitment/fitment.toml"
"${inside[@]}" dpkg -i /fitment.deb >/dev/null
grep -q '^# ours' "$root/etc/fitment/fitment.toml"
"${inside[@]}" dpkg --purge fitment 2>&1 | tail -n 1
[ ! -e "$root/usr/bin/fitment" ] && [ ! -e "$root/etc/fitment/fitment.toml" ] && [ -s "$root/var/lib/fitment/catalog.redb" ]
echo "installed, served, installed again, purged; the catalogue stays"
