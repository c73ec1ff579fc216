"""Ports on 127.0.0.1: kept from one start to the next where they are free, chosen anew where they aren't.

Owns that choice. New ports lie below the range from which the kernel takes the local ports of outgoing connections: a
port in that range can be gone while its server is being started again. Promises: the ports given in one call differ.
Should another server take one before ours does, ours doesn't come up, and the next ``up`` chooses again.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"
_FIRST = 12_000
_LAST = 32_767
_TRIES = 200
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _last() -> int:
    """The last port below the ephemeral range (ip(7)); 32767 where that range leaves too little below it."""
    lowest = int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    return lowest - 1 if lowest >= 2 * _FIRST else _LAST


def _bound(port: int) -> socket.socket | None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what the servers do: TIME_WAIT isn't in use
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()  # two sockets with SO_REUSEADDR may share a port until one listens
    except OSError:
        listener.close()
        return None
    return listener


def claim(names: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the known one if it is free, else another.

    ``names`` maps each name to an offset at which a second port must be free too (0: none), for servers that derive
    one port from another. Raises ``OSError`` when 200 tries didn't find a free one.
    """
    chosen: dict[str, int] = {}
    last = _last()
    dice = random.SystemRandom()
    with ExitStack() as held:
        for name, offset in names.items():
            tries = [known[name]] if name in known else []
            tries += [dice.randint(_FIRST, last - offset) for _ in range(_TRIES)]
            port = next((port for port in tries if _hold(held, port, port + offset)), None)
            if port is None:
                raise OSError(f"no free port on {LOOPBACK} for {name} after {_TRIES} tries")
            chosen[name] = port
    return chosen


def _hold(held: ExitStack, *ports: int) -> bool:
    """Keep these ports (one twice is one) bound until ``held`` ends; ``False`` if one of them isn't free."""
    for port in sorted(set(ports)):
        listener = _bound(port)
        if listener is None:
            return False
        held.callback(listener.close)
    return True
