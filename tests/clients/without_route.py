"""Serves and matches inside a network namespace that has nothing but its own loopback.

Usage: unshare --user --map-root-user --net python3 without_route.py FITMENT DATA_DIR
"""

import fcntl
import glob
import os
import signal
import socket
import struct
import subprocess
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def raise_loopback():
    """Brings `lo` up; a new namespace has it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def remote_addresses(pid):
    """Remote ends of every internet socket in the process's namespace, as hexadecimal text."""
    remotes = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw"):
        try:
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as lines:
                next(lines)
                remotes.update((table, line.split()[2].split(":")[0]) for line in lines)
        except FileNotFoundError:
            pass
    return remotes


def main():
    binary, data_dir = sys.argv[1:]
    raise_loopback()
    with open("/proc/net/route", encoding="ascii") as routes:
        assert len(routes.readlines()) == 1, "this namespace must have no route"
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            address = daemon.stdout.readline().split()[-1]
            while daemon.stdout.readline().strip() not in ("ready", ""):
                pass
            match = subprocess.run(
                [binary, "match", "--json", "--server", address, "pay by card"],
                capture_output=True, text=True, check=False,
            )
            assert match.returncode == 0, match.stderr
            loopback = {"0100007F", "00000000", "0" * 32, "0000000000000000FFFF00000100007F"}
            outbound = {remote for remote in remote_addresses(daemon.pid) if remote[1] not in loopback}
            assert not outbound, f"sockets to elsewhere: {outbound}"
            assert glob.glob(f"/proc/{daemon.pid}/fd/*"), "the daemon is still there"
        finally:
            os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait(timeout=60) == 0, "SIGTERM must drain and exit with 0"
    print("served and matched without a route; no outbound socket")


if __name__ == "__main__":
    main()
