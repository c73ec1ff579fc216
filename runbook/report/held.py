"""What a run still holds: which services, where, and how they come back when no step will bring them.

Owns :class:`Hold` and its two forms, lines and JSON. Pure. Promises: the commands are told only of a run that is over: while it can
be gone on with, its release starts what the hold stopped, and nothing else should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runbook.operation import Json
from runbook.report.line import Line


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold in force. ``what`` are the services that it stopped, '()' where it holds something else; ``where`` they are.

    ``commands`` are what its release would have done, as lines for a shell; none while the run can be gone on with, or where they
    can't be told.
    """

    step: str
    title: str
    release: str
    what: tuple[str, ...] = ()
    where: str = ""
    commands: tuple[str, ...] = ()
    over: bool = False


def as_lines(holds: Iterable[Hold]) -> Iterator[Line]:
    """One line a hold, and below it what is stopped and, where no step will do it, how it is started by hand."""
    for hold in holds:
        releases = "nothing will release it: the run is over" if hold.over else f"{hold.release} releases it"
        yield Line("⚑", f"{hold.step} still holds: {hold.title}; {releases}", "ask")
        if hold.what:
            yield Line("   ", f"stopped: {', '.join(hold.what)}{f' ({hold.where})' if hold.where else ''}", "ask")
        elif hold.where:
            yield Line("   ", f"on {hold.where}", "ask")
        if hold.commands:
            yield Line("   ", "by hand, once you are sure of what stands behind it:", "ask")
            yield from (Line("     ", text) for command in hold.commands for text in command.splitlines())


def as_json(hold: Hold) -> dict[str, Json]:
    """The object of ``show --json``."""
    return {
        "step": hold.step,
        "title": hold.title,
        "release": hold.release,
        "stopped": list(hold.what),
        "where": hold.where or None,
        "commands": list(hold.commands),
    }
