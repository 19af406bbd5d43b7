#!/usr/bin/env bash
# Scores the systemd unit, and holds the system calls that a daemon makes to those that the unit allows.
#
# Usage: unit.sh FITMENT; needs systemd-analyze, strace, openssl, the default model installed.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
fitment=$(realpath "$1") unit=$(realpath "$here/../systemd/fitment.service")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# 15: a score of 1.5 of 10 at most.
systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" >"$scratch/score" || { cat "$scratch/score"; exit 1; }
grep '✗' "$scratch/score" || true
tail -n 1 "$scratch/score"

# What the unit's lines leave, in their order.
members() {
    local name
    for name in "$@"; do
        case $name in
        @*) systemd-analyze syscall-filter --no-pager "$name" | sed -n 's/^    \([@a-z].*\)/\1/p' | while read -r member; do members "$member"; done ;;
        *) echo "$name" ;;
        esac
    done
}
: >"$scratch/allowed"
sed -n 's/^SystemCallFilter=//p' "$unit" | while read -r names; do
    # shellcheck disable=SC2086  # names are words
    members ${names#\~} | sort -u >"$scratch/named"
    case $names in
    \~*) comm -23 "$scratch/allowed" "$scratch/named" >"$scratch/next" ;;
    *) sort -u "$scratch/allowed" "$scratch/named" >"$scratch/next" ;;
    esac
    mv "$scratch/next" "$scratch/allowed"
done

# From its start with threads on processors, through writes, answers over TLS and a Unix socket, files read again, traces and a snapshot, to its end.
"$here/credentials.sh" "$fitment" "$scratch/guard"
export FITMENT_METRICS__LISTEN=127.0.0.1:0 FITMENT_ENCODER__PIN=true FITMENT_UNIX_SOCKET="$scratch/fitment.sock" \
    FITMENT_TLS__CERTIFICATE="$scratch/guard/tls.crt" FITMENT_TLS__KEY="$scratch/guard/tls.key" FITMENT_TLS__WATCH_SECONDS=1 \
    FITMENT_ACCESS__FILE="$scratch/guard/access.yaml" FITMENT_TRACES__FILE="$scratch/spans.jsonl" FITMENT_TRACES__RATIO=1
exec 3< <(exec strace -f -qq -c -S name -U name -o "$scratch/calls" timeout --signal=TERM 60 \
    "$fitment" demo --listen 127.0.0.1:0 --data-dir "$scratch/data")
traced=$!
until [ -n "${server:-}" ]; do
    read -r line <&3 || { echo "it ended before it served" >&2; exit 1; }
    server=$(sed -n 's/^Fitment serves .* on \(https:[0-9./:]*\) .*/\1/p' <<<"$line")
done
client=(--ca "$scratch/guard/ca.crt" --api-key-file "$scratch/guard/api-key")
"$fitment" match --server "$server" "${client[@]}" "take a card payment at checkout" >/dev/null
"$fitment" match --server "unix:$scratch/fitment.sock" "take a card payment at checkout" >/dev/null
daemon=$(pgrep -P "$(pgrep -P "$traced" timeout)")
kill -HUP "$daemon"
"$fitment" snapshot create --server "$server" "${client[@]}" >/dev/null
"$fitment" catalog export --server "$server" "${client[@]}" "$scratch/export" >/dev/null
kill -TERM "$daemon"
wait "$traced"
[ -s "$scratch/spans.jsonl" ]
sed '1,2d' "$scratch/calls" | grep -v '^-\|total' | tr -d ' ' | sort -u >"$scratch/made"
echo "$(wc -l <"$scratch/made") system calls made, $(wc -l <"$scratch/allowed") allowed"
# The start of the process itself, before the filter is in force, and the tracer's own.
if comm -23 "$scratch/made" "$scratch/allowed" | grep -v '^execve$'; then
    echo "the unit forbids these" >&2
    exit 1
fi
