"""Damage of files: a page of a table or an index written over, where the server is, in a container or on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.evidence.servers import InContainer
from tests.evidence.stacks import Stack
from tests.evidence.witness import until
from tests.fixtures.account import server_account
from tests.fixtures.process import works_in

ENDS_WITHIN_S = 120.0
PAGE = 8192
JUNK = b"\xa5" * 400
"""What a damaged page holds from its 11th byte on."""


def spoil(made: Stack, relation: str, block: int) -> None:
    """Write over a page of a relation, as a bad disk would; the server reads it from there at its next start."""
    path = str(made.sql(f"SELECT current_setting('data_directory') || '/' || pg_relation_filepath('{relation}')")[0][0])
    made.sql("CHECKPOINT")
    if isinstance(made.server, InContainer):
        written = f"printf '%0.s\\245' $(seq {len(JUNK)}) | dd of={path} bs=1 seek={block * PAGE + 10} conv=notrunc"
        made.server.run("sh", "-c", written)
        made.server.container.restart(timeout=30)
        made.server.found_again()
        return
    data = made.server.folder / "data"
    end_server(data)  # and what it holds in memory with it
    with Path(path).open("r+b") as file:
        file.seek(block * PAGE + 10)
        file.write(JUNK)
    start = ["--silent", "-D", str(data), "-l", str(made.server.folder / "log.again"), "-w", "start"]
    server_account().run([made.server.bin_dir / "pg_ctl", *start])


def end_server(data: Path) -> None:
    """End the server that runs in a directory of this machine, by its process id."""
    lock = data / "postmaster.pid"
    try:
        os.kill(int(lock.read_text().split()[0]), signal.SIGINT)
    except (FileNotFoundError, ProcessLookupError):
        return
    until(lambda: not lock.exists() and not works_in(data), ENDS_WITHIN_S, "the server ends")


@contextmanager
def ended_with_the_test(made: Stack) -> Iterator[Stack]:
    """A local server that a plan has started is nobody's child: it is ended by its process id."""
    try:
        yield made
    finally:
        if not isinstance(made.server, InContainer):
            end_server(made.server.folder / "data")
