#!/usr/bin/env bash
# Boots a clean root with a systemd of its own, installs the package there, and starts, asks, kills and stops the unit.
#
# Usage: boot.sh PACKAGE MODELS [ROOT_TAR]
#   MODELS    a folder as `fitment model import` leaves it, and holds all-MiniLM-L6-v2
#   ROOT_TAR  a root file system with systemd; without it mmdebstrap makes one of the release that runs here
# Needs root, mmdebstrap, systemd-nspawn (package systemd-container), openssl; the host need not run systemd.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
package=$(realpath "$1") models=$(realpath "$2") tar=${3:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root="$scratch/root"

mkdir "$root"
if [ -z "$tar" ]; then
    tar="$scratch/root.tar"
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    timeout 300 mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus "$release" "$tar"
fi
tar -xf "$tar" -C "$root" --exclude './dev/*'
mkdir "$root/try"
cp "$package" "$root/try/fitment.deb"
cp -r "$models/all-MiniLM-L6-v2" "$root/try/model"
cp -r "$here/../../daemon/catalog/sample/components/payments" "$root/try/components"
dpkg-deb --fsys-tarfile "$package" | tar -x -C "$scratch" ./usr/bin/fitment
# A user of the Unix socket who is neither root nor fitment.
"$here/credentials.sh" "$scratch/usr/bin/fitment" "$root/try/guard" 4711

cat >"$root/try/run" <<'END'
#!/bin/bash
# Within: everything that is seen goes to /try/log, and `passed` to its end.
set -eux
# `!` would not end this.
refused() {
    if "$@"; then exit 1; fi
}
dpkg -i /try/fitment.deb
refused systemctl is-enabled fitment
# Without a model it ends, and is not started again.
! systemctl start fitment || for _ in 1 2 3 4 5 6 7 8 9 10; do systemctl is-failed fitment && break; sleep 1; done
systemctl show -p NRestarts -p Result -p ExecMainStatus fitment
[ "$(systemctl show -p NRestarts --value fitment)" = 0 ]
setpriv --reuid=fitment --regid=fitment --clear-groups fitment --config /etc/fitment/fitment.toml model import /try/model --name all-MiniLM-L6-v2
systemctl reset-failed fitment
systemctl enable --now fitment
ready() {
    for _ in $(seq 60); do
        fitment match --json "anything" >/dev/null 2>&1 && return
        sleep 0.5
    done
    journalctl -u fitment --no-pager | tail -n 20
    return 1
}
ready
fitment catalog import /try/components | tail -n 1
fitment match "take a card payment at checkout" | head -n 3
fitment snapshot create | tail -n 1
main=$(systemctl show -p MainPID --value fitment)
grep -E '^(Uid|CapBnd|CapEff|NoNewPrivs|Seccomp):' "/proc/$main/status"
grep -qE '^CapBnd:\s+0+$' "/proc/$main/status"
grep -qE '^Seccomp:\s+2$' "/proc/$main/status"
# What it sees: its own folder can be written, nothing else.
awk '{print $5, $6}' "/proc/$main/mountinfo" | grep -E '^(/|/etc|/usr|/home|/root|/var/lib/fitment) '
# A crash: the unit comes back, with what was stored.
kill -KILL "$main"
for _ in $(seq 20); do [ "$(systemctl show -p NRestarts --value fitment)" = 1 ] && break; sleep 0.5; done
ready
fitment match --json "take a card payment at checkout" | grep -m 1 '"name": "payments/card-checkout"'
# TLS, callers who are asked who they are, a Unix socket, traces: by the lines that the configuration brings along.
install -o root -g fitment -m 640 /try/guard/tls.crt /try/guard/tls.key /etc/fitment/tls/
install -o root -g fitment -m 640 /try/guard/access.yaml /etc/fitment/
sed -i -E -e 's/^#(unix_socket = )/\1/' -e 's/^#(unix_socket_mode = ).*/\1"0666"/' -e '/^#\[(tls|access|traces)\]/,/^$/s/^#(\[|[a-z_]+ = )/\1/' \
    /etc/fitment/fitment.toml
# The traces' block is the last one.
echo 'ratio = 1.0' >>/etc/fitment/fitment.toml
systemctl restart fitment
export FITMENT_SERVER=https://127.0.0.1:7411 FITMENT_CA=/try/guard/ca.crt
until [ -S /run/fitment/fitment.sock ]; do sleep 0.5; done
refused fitment match "take a card payment at checkout"
export FITMENT_API_KEY_FILE=/try/guard/api-key
ready
fitment match "take a card payment at checkout" | head -n 1
socket() {
    env -u FITMENT_API_KEY_FILE -u FITMENT_CA FITMENT_SERVER=unix:/run/fitment/fitment.sock "$@"
}
refused socket fitment match "take a card payment at checkout"
socket setpriv --reuid=4711 --regid=4711 --clear-groups fitment match --json "take a card payment at checkout" |
    grep -m 1 '"name": "payments/card-checkout"'
main=$(systemctl show -p MainPID --value fitment)
systemctl reload fitment
ready
[ "$main" = "$(systemctl show -p MainPID --value fitment)" ]
for _ in $(seq 40); do journalctl -u fitment --no-pager -o cat | grep -q 'the access document was read again' && break; sleep 0.5; done
journalctl -u fitment --no-pager -o cat | grep -m 1 'the access document was read again'
# The key by systemd's hands, where fitment cannot read the file itself.
mkdir -p /etc/systemd/system/fitment.service.d /etc/ssl/private
install -m 600 /try/guard/tls.key /etc/ssl/private/fitment.key
rm /etc/fitment/tls/tls.key
printf '[Service]\nLoadCredential=tls.key:/etc/ssl/private/fitment.key\n' >/etc/systemd/system/fitment.service.d/key.conf
sed -i 's|^key = .*|key = "/run/credentials/fitment.service/tls.key"|' /etc/fitment/fitment.toml
systemctl daemon-reload
systemctl restart fitment
ready
systemctl stop fitment
[ -s /var/log/fitment/spans.jsonl ]
[ ! -e /run/fitment/fitment.sock ]
systemctl show -p Result -p ExecMainStatus fitment
[ "$(systemctl show -p Result --value fitment)" = success ]
journalctl -u fitment --no-pager -o cat | tail -n 4
systemd-analyze security fitment --no-pager | tail -n 1
# What of the unit this kernel and this control group could not do; nothing on a host with version 2 of them.
journalctl --no-pager -o cat _PID=1 | grep -iE 'bpf|firewall|not supported|ignoring' | sort -u || true
dpkg --purge fitment
[ -s /var/lib/fitment/catalog.redb ]
echo passed
END
chmod 755 "$root/try/run"
cat >"$root/etc/systemd/system/try.service" <<'END'
[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
TimeoutStartSec=240
ExecStart=/try/run
StandardOutput=file:/try/log
StandardError=inherit
ExecStopPost=/usr/bin/systemctl poweroff --no-block
END
ln -s /etc/systemd/system/try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"

timeout 300 systemd-nspawn --quiet --register=no --keep-unit --private-network --boot -D "$root" >"$scratch/console" 2>&1 || true
cat "$root/try/log" || { tail -n 40 "$scratch/console"; exit 1; }
[ "$(tail -n 1 "$root/try/log")" = passed ]
