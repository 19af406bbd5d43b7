"""Serves and matches inside a network namespace that has nothing but its own loopback.

The daemon runs under a seccomp filter that kills a process which calls connect(2): no outbound connection can be begun, and no
name be resolved, since resolvers connect their sockets first. That the filter works is shown on a command that does connect.

Usage: unshare --user --map-root-user --net python3 without_route.py FITMENT DATA_DIR
"""

import ctypes
import fcntl
import glob
import os
import platform
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


class Instruction(ctypes.Structure):
    """One instruction of a classic BPF program (linux/filter.h)."""

    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction))]


CONNECT = {"x86_64": 42, "aarch64": 203}[platform.machine()]
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def forbid_connecting():
    """Has the kernel kill this process, and what it starts, at the first connect(2)."""
    instructions = (Instruction * 4)(
        (LOAD_WORD, 0, 0, 0),  # the system call's number
        (JUMP_IF_EQUAL, 0, 1, CONNECT),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    program = Program(len(instructions), instructions)
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0, "no seccomp"


def main():
    binary, data_dir = sys.argv[1:]
    raise_loopback()
    with open("/proc/net/route", encoding="ascii") as routes:
        assert len(routes.readlines()) == 1, "this namespace must have no route"
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=forbid_connecting) as daemon:
        try:
            address = daemon.stdout.readline().split()[-1]
            while daemon.stdout.readline().strip() not in ("ready", ""):
                pass
            match = subprocess.run(
                [binary, "match", "--json", "--server", address, "pay by card"],
                capture_output=True, text=True, check=False,
            )
            assert match.returncode == 0, match.stderr
            killed = subprocess.run(
                [binary, "match", "--server", address, "pay by card"],
                capture_output=True, check=False, preexec_fn=forbid_connecting,
            )
            assert killed.returncode == -signal.SIGSYS, f"the filter does not work: {killed}"
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
