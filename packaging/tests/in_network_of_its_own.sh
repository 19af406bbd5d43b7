#!/usr/bin/env bash
# Runs a command where there is no network but a loopback of its own, and no process that outlives it.
set -euo pipefail
exec timeout --signal=TERM --kill-after=10 "${LIMIT:-120}" unshare --net --pid --fork --kill-child --mount --mount-proc \
    sh -c 'ip link set lo up && exec "$@"' sh "$@"
