# SPDX-License-Identifier: Apache-2.0
"""In a network namespace of its own, with four local ports: holds whatever connects to PORT of ADDRESS, and runs a command.

Usage: unshare -n few_ports.py ADDRESS PORT COMMAND..."""

import os
import signal
import socket
import subprocess
import sys

import pair

RANGE = "/proc/sys/net/ipv4/ip_local_port_range"


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open(RANGE, "w", encoding="ascii") as ports:
        ports.write("40000 40003")
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
    parent = os.getpid()
    if os.fork() == 0:
        pair.die_with_parent(signal.SIGKILL)()
        held = []
        while os.getppid() == parent:
            held.append(listener.accept())
    listener.close()
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
