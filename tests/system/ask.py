"""A client: asks the witness at an address by TCP or UDP, prints what it answers or the name of the error. Run as a file."""

from __future__ import annotations

import errno
import socket
import sys


def main() -> None:
    """Arguments: `tcp` or `udp`, address, port, and a limit in seconds."""
    protocol, address, port, limit_s = sys.argv[1:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(float(limit_s))
        try:
            client.connect((address, int(port)))
            if protocol == "udp":
                client.send(b"?")
            print(client.recv(100).decode())
        except TimeoutError:
            print("TIMEOUT")
        except OSError as error:
            print(errno.errorcode[error.errno or 0])


if __name__ == "__main__":
    main()
