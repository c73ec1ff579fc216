"""The event loop: waits for descriptors and says which is ready."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


LONGEST_TURN_S = 3_600.0
"""A poll takes at most 2^31 milliseconds; who waits for longer is called in between, and waits on."""


class Loop:
    """Calls what was registered for a descriptor when there is something to read (or it was closed)."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Call this when the descriptor is readable."""
        self._calls[fd] = call
        self._poll.register(fd, select.POLLIN)

    def watch_room(self, fd: int, *, wanted: bool) -> None:
        """Whether to wake for a watched descriptor also when it can be written to."""
        self._poll.modify(fd, select.POLLIN | (select.POLLOUT if wanted else 0))

    def forget(self, fd: int) -> None:
        """Don't watch it any more; to be called before it is closed."""
        if self._calls.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def turn(self, timeout_s: float | None) -> None:
        """Wait, no longer than that, and call what is due."""
        longest_ms = None if timeout_s is None else min(max(0.0, timeout_s), LONGEST_TURN_S) * 1000
        for fd, _ in self._poll.poll(longest_ms):
            call = self._calls.get(fd)
            if call is not None:
                call()
