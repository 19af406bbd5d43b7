#!/usr/bin/env bash
# Starts a daemon as a package has it started, asks it an intent about a component, and ends it. Its network is its own: see in_network_of_its_own.sh.
#
# Usage: serve_and_match.sh ROOT USER SERVE...
#   ROOT   a root file system; the daemon and its clients run in it, and see nothing else
#   USER   uid:gid
#   SERVE  the command that serves, as within ROOT; its configuration listens on 127.0.0.1:7411 and serves metrics on 127.0.0.1:9464
set -euo pipefail

root=$1 user=$2
shift 2
inside=(chroot --userspec="$user" "$root")
client() {
    "${inside[@]}" /usr/bin/fitment "$@" --server 127.0.0.1:7411
}

mkdir -p "$root/proc"
mount -t proc proc "$root/proc"
mkdir -p "$root/tmp/components"
cp "$(dirname "$0")"/../../daemon/catalog/sample/components/payments/*.yaml "$root/tmp/components/"
chmod -R a+rX "$root/tmp/components"

exec 3< <(exec "${inside[@]}" "$@")
daemon=$!
until [ "${line:-}" = ready ]; do
    read -r line <&3 || { echo "it ended before it was ready" >&2; exit 1; }
done
client catalog import /tmp/components | tail -n 1
answer=$(client match --json "take a card payment at checkout")
grep -m 1 '"name"' <<<"$answer"
grep -q '"name": "payments/card-checkout"' <<<"$answer"
exec 4<>/dev/tcp/127.0.0.1/9464
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&4
grep -m 1 '^fitment_ready 1' <&4
client snapshot create | tail -n 1
kill -TERM "$daemon"
wait "$daemon"
echo "served, answered, drained with code 0"
