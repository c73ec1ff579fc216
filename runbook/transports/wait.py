"""Waits: a read, repeated until its conditions hold or its time is over.

Owns the loop. Promises: it is bounded; it looks at least once; it is a read, so it succeeds or fails and is never lost; what
was found last is in the failure. What comes soon is seen soon: the first pauses are short, each twice the one before, until they
are the wait's interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runbook.condition import explain, failing
from runbook.errors import Problem
from runbook.operation import Fields, Operation, Wait
from runbook.paste import paste
from runbook.transports.bound import Bound
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded, Use
from runbook.transports.running import Running
from runbook.units import show_duration

SHORTEST_INTERVAL_S = 0.02
FIRST_INTERVAL_S = 0.05


def perform_wait(
    wait: Wait,
    use: Use,
    perform: Callable[[Operation, Use], Outcome],
    *,
    monotonic: Callable[[], float],
    pause: Callable[[float], bool],
    running: Running,
) -> Outcome:
    """Look until the conditions hold. ``pause(seconds)`` waits, and is true if the wait was stopped meanwhile.

    Result: the fields of the last look.
    """
    began = monotonic()
    own = Bound(monotonic, use.deadline).within(wait.deadline_s)
    read = replace(wait.read, reads=True)
    looks = 0
    while True:
        looks += 1
        inner = replace(use, id=f"{use.id}/{looks}", deadline=own.at if wait.deadline_s else use.deadline)
        outcome = perform(read, inner)
        found: Fields = {} if isinstance(outcome, Lost) else outcome.fields
        missed = failing(wait.until, found, use.results)
        if isinstance(outcome, Succeeded) and not missed:
            return outcome
        interval_s = min(max(SHORTEST_INTERVAL_S, wait.interval_s), FIRST_INTERVAL_S * 2 ** min(looks - 1, 20))
        if running.stopped(use.id) or own.over or pause(own.at_most(interval_s)) or own.over:
            break
    lines = [outcome.problem.detail or outcome.problem.summary] if not isinstance(outcome, Succeeded) else []
    lines += [explain(one, found) for one in missed] if isinstance(outcome, Succeeded) else []
    look = paste(read).partition("\n")[0]  # what was asked: it shows a person how it stands now
    if wait.deadline_s:
        took = show_duration(monotonic() - began)
        lines.append(f"Looked {looks} times in {took}{', then it was stopped' if running.stopped(use.id) else ''}.")
        return Failed(Problem("E361", "what was waited for did not come", "\n".join(lines), look), found)
    return Failed(Problem("E314", "the result is not what was expected", "\n".join(lines), look), found)
