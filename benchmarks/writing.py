"""A client that writes all the time, as the service does whose database is swapped: how long it could not."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Event, Thread

from benchmarks.filling import DATABASE
from benchmarks.server import Server

PAUSE_S = 0.005
_WRITE = "INSERT INTO heartbeat VALUES (clock_timestamp())"


class Writer:
    """Writes in a thread while it is used as a context; afterwards ``gap_s`` is the longest time between two writes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._done = Event()
        self._thread = Thread(target=self._write)
        self.gap_s = 0.0
        """Of the gaps in which the connection was lost, the longest, in seconds."""

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _write(self) -> None:
        import psycopg

        last = time.monotonic()
        while not self._done.is_set():
            with suppress(psycopg.Error), self._server.connect(DATABASE) as connection:
                first = True
                while not self._done.is_set():
                    connection.execute(_WRITE)
                    now = time.monotonic()
                    if first:
                        self.gap_s = max(self.gap_s, now - last)
                    first, last = False, now
                    time.sleep(PAUSE_S)
            time.sleep(PAUSE_S)
