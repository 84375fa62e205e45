"""Send frames round and round through a packet socket that was handed over, until killed.

Stands alone, and is run by its path: it starts in an instant.
"""

import socket
import sys


def main() -> None:
    """Take the socket's descriptor and the frames, as hexadecimal digits, as arguments."""
    frames = [bytes.fromhex(text) for text in sys.argv[2:]]
    with socket.socket(fileno=int(sys.argv[1])) as sender:
        sys.stdout.write("sending\n")
        sys.stdout.flush()
        while True:
            for data in frames:
                sender.send(data)


if __name__ == "__main__":
    main()
