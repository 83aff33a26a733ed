"""A target: answers TCP and UDP, at its arguments' addresses, port 8080, with the source address that it sees. A script."""

from __future__ import annotations

import selectors
import socket
import sys

PORT = 8080


def main() -> None:
    """Serves until killed; prints one line when it is ready."""
    selector = selectors.DefaultSelector()
    for address in sys.argv[1:]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            listener = socket.socket(family, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, PORT))
            if kind == socket.SOCK_STREAM:
                listener.listen()
            selector.register(listener, selectors.EVENT_READ, kind)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if key.data == socket.SOCK_STREAM:
                connection, peer = ready.accept()
                with connection:
                    connection.sendall(str(peer[0]).encode())
            else:
                _, peer = ready.recvfrom(100)
                ready.sendto(str(peer[0]).encode(), peer)


if __name__ == "__main__":
    main()
