# SPDX-License-Identifier: Apache-2.0
"""An echo server for very many connections in a process of its own: prints its port, ends with its input."""

import resource
import selectors
import socket
import sys


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    del soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    events = selectors.EpollSelector()
    listener = socket.create_server((sys.argv[1], 0), backlog=4096)
    listener.setblocking(False)
    events.register(listener, selectors.EVENT_READ)
    events.register(sys.stdin, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in events.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                events.register(connection, selectors.EVENT_READ)
            elif key.fileobj is sys.stdin:
                return
            else:
                try:
                    data = key.fileobj.recv(65536)
                    if data:
                        key.fileobj.send(data)
                except OSError:
                    data = b""
                if not data:
                    events.unregister(key.fileobj)
                    key.fileobj.close()


if __name__ == "__main__":
    main()
