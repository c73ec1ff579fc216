"""Ports on 127.0.0.1: kept from one start to the next where they are free, chosen by the kernel where they aren't.

Owns that choice. Promises: the ports given in one call differ. Between the choice and the server's own bind another
program may take a port; the server then doesn't come up, and the next ``up`` chooses again.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
_TRIES = 50


def _bound(port: int) -> socket.socket | None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what the servers do: TIME_WAIT isn't in use
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        return None
    return listener


def claim(names: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the known one if it is free, else another.

    ``names`` maps each name to an offset at which a second port must be free too (0: none), for servers that derive
    one port from another. Raises ``OSError`` when the machine has none left.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for name, offset in names.items():
            for candidate in [known.get(name, 0)] + [0] * _TRIES:
                first = _bound(candidate)
                if first is None:
                    continue
                held.callback(first.close)
                port: int = first.getsockname()[1]
                second = None if not offset else _bound(port + offset) if port + offset < 65_536 else None
                if second is not None:
                    held.callback(second.close)
                if not offset or second is not None:
                    chosen[name] = port
                    break
            else:
                raise OSError(f"no free port on {LOOPBACK} for {name} after {_TRIES} tries")
    return chosen


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
