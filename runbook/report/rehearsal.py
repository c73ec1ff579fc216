"""What a rehearsal found, as a page of text and as JSON.

Owns :class:`Rehearsed` and its parts. Promises: the counts are of what was tried; what could not be tried is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook.operation import Json

MOST_NAMED = 8
"""Steps that weren't done after a failure, by name; the JSON has all."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A kind of disturbance: how many there are in this plan, how many were tried, how many came to the undisturbed end."""

    what: str
    there: int
    tried: int
    held: int


@dataclass(frozen=True, slots=True)
class AsksThen:
    """A step of which a resume could not know how it ended, and asked a person; ``times`` out of all disturbances tried."""

    step: str
    uses: str
    fix: str
    times: int


@dataclass(frozen=True, slots=True)
class AfterFailure:
    """What the run is like after a step failed: its status and exit code, what still ran, what stays held, what a resume does."""

    step: str
    status: str
    exit_code: int
    ran: tuple[str, ...]
    held: tuple[str, ...]
    cancelled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Never:
    """A step that ran in no rehearsal, and why."""

    step: str
    why: str


@dataclass(frozen=True, slots=True)
class Broke:
    """A disturbance after which the run did not come to the undisturbed end."""

    disturbance: str
    what: str


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A whole rehearsal. ``again``: steps that a resume does once more, since they are safe to repeat or frame what others do."""

    plan: str
    environment: str
    steps: int
    tried: tuple[Tried, ...]
    asks: tuple[AsksThen, ...]
    again: tuple[str, ...]
    failures: tuple[AfterFailure, ...]
    never: tuple[Never, ...]
    broke: tuple[Broke, ...]

    @property
    def held(self) -> bool:
        """Whether every disturbance that was tried came to its end."""
        return not self.broke


def as_json(found: Rehearsed) -> dict[str, Json]:
    """The rehearsal as an object."""
    return {
        "plan": found.plan,
        "environment": found.environment,
        "held": found.held,
        "tried": [{"what": one.what, "there": one.there, "tried": one.tried, "held": one.held} for one in found.tried],
        "asks": [{"step": one.step, "uses": one.uses, "fix": one.fix, "times": one.times} for one in found.asks],
        "again": list(found.again),
        "failures": [
            {
                "step": one.step,
                "status": one.status,
                "exit_code": one.exit_code,
                "ran": list(one.ran),
                "held": list(one.held),
                "cancelled": list(one.cancelled),
            }
            for one in found.failures
        ],
        "never": [{"step": one.step, "why": one.why} for one in found.never],
        "broke": [{"disturbance": one.disturbance, "what": one.what} for one in found.broke],
    }


def as_text(found: Rehearsed) -> str:
    """The rehearsal as a page of text."""
    return "\n".join(_lines(found))


def _lines(found: Rehearsed) -> Iterator[str]:
    yield f"{found.plan}: {found.steps} steps rehearsed on stubs, environment {found.environment}; nothing real was touched"
    yield ""
    yield "What went wrong, and how often a resume came to the same end:"
    for one in found.tried:
        some = "" if one.tried == one.there else f" (of {one.there})"
        yield f"  {one.held:>5} of {one.tried:<5} {one.what}{some}"
    if found.failures:
        yield from ("", "After a step that fails, until somebody resumes:")
        for failure in found.failures:
            yield from _failure(failure)
    yield ""
    if found.asks:
        yield "A resume would ask a person how these ended:"
        for asks in found.asks:
            yield f"  {asks.step} ({asks.uses}), after {asks.times} of them{f': {asks.fix}' if asks.fix else ''}"
    else:
        yield "A resume would ask nobody how a step ended."
    if found.again:
        yield from (
            "",
            "A resume does these once more (repeatable, a hold and its release, or steps of the run's end):",
        )
        yield f"  {', '.join(found.again)}"
    if found.never:
        yield from ("", "Ran in no rehearsal:")
        yield from (f"  {never.step}: {never.why}" for never in found.never)
    if found.broke:
        yield from ("", "DID NOT come to the same end:")
        yield from (f"  {broke.disturbance}: {broke.what}" for broke in found.broke)


def _failure(one: AfterFailure) -> Iterator[str]:
    yield f"  {one.step}: {one.status}, exit code {one.exit_code}"
    if one.ran:
        yield f"    still runs: {', '.join(one.ran)}"
    if one.held:
        yield f"    stays in effect, since nothing releases it: {', '.join(one.held)}"
    if one.cancelled:
        named, more = one.cancelled[:MOST_NAMED], len(one.cancelled) - MOST_NAMED
        yield f"    not done: {', '.join(named)}{f' and {more} more' if more > 0 else ''}"
