#!/usr/bin/env bash
# Starts a daemon as a package has it started, asks it an intent about a component, and ends it. Its network is its own: see in_network_of_its_own.sh.
#
# Usage: serve_and_match.sh ROOT USER SERVE...
#   ROOT   a root file system; the daemon and its clients run in it, and see nothing else
#   USER   uid:gid
#   SERVE  the command that serves, as within ROOT; its configuration listens on 127.0.0.1:7411 and serves metrics on 127.0.0.1:9464
#   GUARD  variable: a folder within ROOT as credentials.sh makes it, which that configuration names; the daemon then speaks TLS and knows its callers
set -euo pipefail

root=$1 user=$2
shift 2
inside=(chroot --userspec="$user" "$root")
server=(--server 127.0.0.1:7411) credentials=()
if [ -n "${GUARD:-}" ]; then
    server=(--server https://127.0.0.1:7411 --ca "$GUARD/ca.crt") credentials=(--api-key-file "$GUARD/api-key")
fi
client() {
    "${inside[@]}" /usr/bin/fitment "$@" "${server[@]}" "${credentials[@]}"
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
page() {
    exec 4<>/dev/tcp/127.0.0.1/9464
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&4
    cat <&4
    exec 4>&-
}
page /metrics | grep '^fitment_ready 1'
page /livez | grep -q '^HTTP/1.[01] 200 '
page /readyz | grep -q '^HTTP/1.[01] 200 '
if [ -n "${GUARD:-}" ]; then
    code=0
    "${inside[@]}" /usr/bin/fitment match "take a card payment" "${server[@]}" 2>/dev/null || code=$?
    [ "$code" = 9 ] || { echo "a caller without a key got code $code" >&2; exit 1; }
    page /metrics | grep '^fitment_access_refused_total{.*credentials_missing.*} 1'
    # What the unit's ExecReload= does.
    kill -HUP "$daemon"
    until page /metrics | grep '^fitment_access_reloads_total 1'; do sleep 0.1; done
    until page /metrics | grep '^fitment_tls_reloads_total 1'; do sleep 0.1; done
    client match --json "take a card payment at checkout" | grep -q '"name": "payments/card-checkout"'
fi
client snapshot create | tail -n 1
kill -TERM "$daemon"
wait "$daemon"
echo "served, answered, drained with code 0"
