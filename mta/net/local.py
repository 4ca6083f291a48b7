"""Local: which addresses are this machine's own."""

import socket


def is_local(address: str) -> bool:
    """Is this IP address one of this machine's? Asked of the system each time, since addresses come and go.

    Only an address of one's own can be bound to.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
