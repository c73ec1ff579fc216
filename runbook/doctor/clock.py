"""Clocks: this machine's, which dates runs and backups, against itself and against the database servers'.

Owns the judgement. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from runbook.doctor.facts import Clock, Facts, Seen, ServerFacts
from runbook.doctor.finding import Code, Finding, Group, fails, good, look
from runbook.units import show_duration

_GROUP = Group.CLOCK
PLAUSIBLE = range(2026, 2080)
"""Years in which this program may be run: a machine without a battery wakes in 1970."""
MOST_STEP_S = 1.0
MOST_OFFSET_S = 2.0
_SYNC = "timedatectl set-ntp true    # then: timedatectl"


def judge(facts: Facts) -> Iterator[Finding]:
    """Findings on this clock, and on each server's."""
    yield own(facts.clock)
    for seen, server in facts.servers():
        yield servers(seen, server)


def own(clock: Clock) -> Finding:
    """This machine's clock: a plausible year, no step while it was looked, no run that begins in the future."""
    shown = f"{clock.wall:%Y-%m-%d %H:%M:%S}Z"
    if clock.wall.year not in PLAUSIBLE:
        why = "Certificates are refused, and backups can't be told old from new."
        return fails(Code.CLOCK, _GROUP, "this machine", f"says {shown}", why=why, fix=_SYNC)
    if abs(clock.stepped_s) > MOST_STEP_S:
        says = f"was set by {show_duration(abs(clock.stepped_s))} while it was looked"
        why = "Durations and the moments of recovery are told by it."
        return look(Code.CLOCK, _GROUP, "this machine", says, why=why, fix=_SYNC)
    if clock.newest_run is not None and clock.newest_run > clock.wall:
        ahead = (clock.newest_run - clock.wall).total_seconds()
        says = f"says {shown}, and the newest run began {show_duration(ahead)} later"
        why = "The clock went back, or was fast then: runs and backups are in a wrong order."
        return look(Code.CLOCK, _GROUP, "this machine", says, why=why, fix=_SYNC)
    return good(_GROUP, "this machine", shown)


def servers(seen: Seen, server: ServerFacts) -> Finding:
    """A server's clock against ours; the time of the answer is allowed for."""
    apart = abs(server.offset_s)
    if apart > MOST_OFFSET_S + server.slack_s:
        says = f"its clock is {show_duration(apart)} {'ahead of' if server.offset_s > 0 else 'behind'} this machine's"
        why = "A recovery to a moment that was read off one clock stops at another moment of the other."
        return look(Code.CLOCK, _GROUP, seen.system, says, why=why, fix=f"{_SYNC} on both")
    return good(_GROUP, seen.system, f"its clock is this machine's, to {show_duration(max(apart, server.slack_s))}")
