"""How far a standby is behind, and what would be lost if it took over now."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, field_validator

from runbook.action import Action, CheckFailed, Done, Effect, Inputs, Interrupted, Look, Outputs, Scope, current, guard
from runbook.actions.postgres.replication import STREAMING, Node, need_node, read_node, refuse_no_standby, shown_lsn
from runbook.errors import Problem
from runbook.operation import Operations
from runbook.system import Postgres
from runbook.units import parse_duration, parse_size, show_duration, show_size

ASSUMED = Node(
    in_recovery=True,
    identifier="",
    timeline=1,
    checkpoint_timeline=1,
    flushed=None,
    received=None,
    replayed=None,
    paused=False,
    last_commit="",
    age_s=None,
    receiver=STREAMING,
    sender=("", 0),
    directory="",
    version=150_000,
)


class StandbyStatusInputs(Inputs):
    """Whom to compare the standby with, and what is too far."""

    primary: Postgres | None = Field(default=None, description="The primary; only with its answer the lag is exact")
    max_lag: str = Field(default="", description="Fail above this time (5m); empty: only report")
    max_behind: str = Field(
        default="", description="Fail above this much WAL that it lacks (64MiB); empty: only report"
    )
    streaming: bool = Field(default=False, description="Fail unless the WAL comes by streaming at this moment")

    @field_validator("max_lag")
    @classmethod
    def _duration(cls, value: str) -> str:
        if value:
            parse_duration(value)
        return value

    @field_validator("max_behind")
    @classmethod
    def _size(cls, value: str) -> str:
        if value:
            parse_size(value)
        return value


@dataclass(frozen=True, slots=True)
class StandbyStatusFacts:
    """Both servers at one look, the standby first, so that the lag is rather too large. ``primary`` None: no answer."""

    system_identifier: str = guard()
    standby: Node = current()
    primary: Node | None = current()


class Lag(Outputs):
    """Where the standby stands."""

    timeline: int = Field(description="The timeline that it follows")
    received: str = Field(description="Up to where it has the WAL (LSN)")
    replayed: str = Field(description="Up to where it has replayed it (LSN): what readers see")
    behind_bytes: int | None = Field(
        description="WAL of the primary that it lacks; null where the primary doesn't answer"
    )
    behind_s: float | None = Field(description="Seconds of commits that would be lost at most; null: it can't be told")
    estimate: bool = Field(description="Whether that is only an estimate, since the primary was not asked or is silent")
    last_commit: str = Field(description="When the last commit that it replayed was made (UTC)")
    source: str = Field(description="streaming, archive (no WAL receiver runs), or the receiver's state")
    paused: bool = Field(description="Whether its replay is paused")
    meaning: str = Field(description="What it means for the recovery point")


class StandbyStatus(Action[Postgres, StandbyStatusInputs, StandbyStatusFacts, Lag]):
    """Say how far a standby is behind its primary, and what would be lost if it took over now.

    With the primary's answer: the bytes of WAL that the primary has on disk and the standby has not received. That WAL, and every
    commit in it, is what a failover loses. Without the answer: the time since the last commit that the standby replayed, which
    is only an estimate, and too high for a database in which nothing was written. A server that is no standby, or one of another
    cluster, is refused; a lag above `max_lag` or `max_behind` is a failure.
    """

    effect = Effect.READS
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: lag
  title: How far is the standby behind, and what would be lost
  uses: postgres.standby_status
  on: standby
  with: {primary: primary, max_lag: 5m}
  timeout: 1m
"""

    def observe(self, look: Look, system: Postgres, inputs: StandbyStatusInputs, scope: Scope) -> StandbyStatusFacts:
        """One query to each server."""
        standby = need_node(look, system, scope.application)
        primary = read_node(look, inputs.primary, scope.application) if inputs.primary else None
        refuse_no_standby(system, standby, primary)
        return StandbyStatusFacts(standby.identifier, standby, primary)

    def assume(self, system: Postgres, inputs: StandbyStatusInputs, scope: Scope) -> StandbyStatusFacts:
        """A standby that streams."""
        return StandbyStatusFacts("", ASSUMED, None)

    def plan(
        self, system: Postgres, inputs: StandbyStatusInputs, facts: StandbyStatusFacts, scope: Scope
    ) -> Operations:
        """Nothing: the look was it."""
        return ()

    def verify(self, look: Look, system: Postgres, inputs: StandbyStatusInputs, done: Done[StandbyStatusFacts]) -> Lag:
        """The lag, judged."""
        found = status_of(done.facts.standby, done.facts.primary)
        wrong = _too_far(inputs, found)
        if wrong:
            detail = "\n".join((*wrong, found.meaning))
            fix = "Wait until it has caught up, or allow more; its log says what holds it up."
            raise CheckFailed(Problem("E695", "the standby lacks what the primary has", detail, fix))
        return found


def status_of(standby: Node, primary: Node | None) -> Lag:
    """Where the standby stands, and what it means."""
    behind = None if primary is None or primary.flushed is None else max(0, primary.flushed - standby.held)
    seconds = 0.0 if behind == 0 else standby.age_s
    source = standby.receiver or "archive"
    paused = " Its replay is paused: readers see an old state." if standby.paused else ""
    return Lag(
        timeline=standby.timeline,
        received=shown_lsn(standby.held),
        replayed=shown_lsn(standby.replayed),
        behind_bytes=behind,
        behind_s=seconds,
        estimate=behind is None,
        last_commit=standby.last_commit,
        source=source,
        paused=standby.paused,
        meaning=_meaning(behind, seconds) + paused,
    )


def _meaning(behind: int | None, seconds: float | None) -> str:
    last = "it has replayed no commit since its start" if seconds is None else f"its last commit is {_age(seconds)} old"
    if behind == 0:
        return "Nothing would be lost: the standby has all the WAL that the primary has on disk."
    if behind is not None:
        return f"{show_size(behind)} of WAL would be lost, with every commit in it; {last}."
    if seconds is None:
        return f"The primary doesn't answer, and {last}: what is lost can't be told."
    return f"The primary doesn't answer. Estimate: the commits of the last {_age(seconds)} are lost, if there were any."


def _age(seconds: float) -> str:
    return show_duration(max(seconds, 0.0))


def _too_far(inputs: StandbyStatusInputs, found: Lag) -> list[str]:
    wrong = []
    if inputs.max_lag and (found.behind_s is None or found.behind_s > parse_duration(inputs.max_lag)):
        shown = "unknown" if found.behind_s is None else show_duration(found.behind_s)
        wrong.append(f"The lag is {shown}; at most {inputs.max_lag} is allowed.")
    if inputs.max_behind and (found.behind_bytes is None or found.behind_bytes > parse_size(inputs.max_behind)):
        shown = "unknown" if found.behind_bytes is None else show_size(found.behind_bytes)
        wrong.append(f"The WAL that it lacks is {shown}; at most {inputs.max_behind} is allowed.")
    if inputs.streaming and found.source != STREAMING:
        wrong.append(f"It does not stream its WAL: {found.source}.")
    return wrong
