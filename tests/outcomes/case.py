"""A case of the table: a plan as text, what goes wrong in it, and how it has to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from runbook.operation import Json
from tests.runner.world import Fate


@dataclass(frozen=True)
class Resume:
    """`runbook resume`, with these steps taken as not needed; with one step at a time; stopped by the operator before any began."""

    skip: tuple[str, ...] = ()
    one_by_one: bool = False
    stopped: bool = False


@dataclass(frozen=True)
class Resolve:
    """`runbook resolve STEP --as OUTCOME`."""

    step: str
    outcome: str
    outputs: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """`runbook confirm STEP`."""

    step: str
    fields: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Approve:
    """`runbook approve STEP`, by somebody."""

    step: str
    by: str


@dataclass(frozen=True)
class Abandon:
    """`runbook abandon`."""


@dataclass(frozen=True)
class Meanwhile:
    """The world changes between two commands: things get these values, services these states; only these can't be asked."""

    things: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    unreachable: tuple[str, ...] = ()


Move: TypeAlias = Resume | Resolve | Answer | Approve | Abandon | Meanwhile
KILLED = None
"""In the place of an exit code: there was nobody to give one."""


@dataclass(frozen=True)
class Case:
    """``says`` tells a user what happens; ``plan`` are the steps, other keys of the plan after them.

    ``codes`` are the exit codes of `apply` and of each `resume` among ``moves``; ``ends`` the statuses of all steps, "step status"
    with commas between them, as `show` lists them; ``held`` the holds in force at the end, ``up`` the services that run then.
    ``meets`` are the fates of operations by "step:operation", one a performance; ``waits``: an operation that is not performed
    before that step ended; ``stops``: an operation during which the operator stops the run, and how often they say so.
    """

    says: str
    plan: str
    ends: str
    status: str
    codes: tuple[int | None, ...]
    moves: tuple[Move, ...] = ()
    meets: Mapping[str, tuple[Fate, ...]] = field(default_factory=dict)
    things: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    takes_s: Mapping[str, float] = field(default_factory=dict)
    waits: Mapping[str, str] = field(default_factory=dict)
    stops: Mapping[str, int] = field(default_factory=dict)
    unreachable: tuple[str, ...] = ()
    inputs: Mapping[str, Json] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    live: bool = False
    parallel: int = 1
    held: str = ""
    up: str = "web worker"


@dataclass(frozen=True)
class Refusal:
    """A plan that is refused before anything runs (exit code 3), with these codes."""

    says: str
    plan: str
    problems: tuple[str, ...]
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Cases under one heading; ``rules`` are the sentences that they show."""

    title: str
    rules: tuple[str, ...]
    cases: Mapping[str, Case | Refusal]
