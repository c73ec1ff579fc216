"""A disk in memory of which a sync takes until the test lets it go."""

from __future__ import annotations

from threading import Event

from tests.fixtures.patience import PATIENCE_S
from tests.journal.memory_disk import MemoryDisk


class HeldDisk(MemoryDisk):
    """``free`` is set but while syncs are held; ``held`` once one is."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.free = Event(), Event()
        self.free.set()

    def fdatasync(self, file: int) -> None:
        """As soon as it may."""
        if not self.free.is_set():
            self.held.set()
            self.free.wait(PATIENCE_S)
        super().fdatasync(file)
