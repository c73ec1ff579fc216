"""The journal keeps abreast of the run: what was noted is durable within a second, though nothing that follows needs it yet.

Owns :func:`abreast`. A step that only reads, or that has first to look at much, would else be in the journal, on the screen and in
``runbook show`` only when it has ended: a verification of an hour as an hour of silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from runbook.errors import JournalFault
from runbook.runner.ledger import Ledger

WITHIN_S = 1.0
"""How late an event may be told of that announces no effect; what is over sooner costs no write of its own."""


@contextmanager
def abreast(ledger: Ledger) -> Iterator[None]:
    """Make durable, from time to time, what the run has noted meanwhile."""
    over = Event()
    thread = Thread(target=_keep, args=(ledger, over), name="abreast", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep(ledger: Ledger, over: Event) -> None:
    while not over.wait(WITHIN_S):
        try:
            ledger.commit()
        except JournalFault:
            return  # whoever commits next gets it too, and ends the run
