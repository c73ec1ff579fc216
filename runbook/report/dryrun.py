"""The page of a dry-run: what would happen, in order, operation by operation.

Owns :class:`Shown` (a step as a dry-run shows it) and its two forms, text and JSON. Promises: the text holds every operation that
the JSON holds; what could not be known is said where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook.action import Effect
from runbook.errors import Problem
from runbook.graph import CriticalPath
from runbook.operation import Json, Operations, Session, kind
from runbook.paste import paste
from runbook.plan.model import Plan, Section, Step
from runbook.quoting import shell_word
from runbook.report.story import titled
from runbook.units import show_duration


@dataclass(frozen=True, slots=True)
class Shown:
    """A step in a dry-run. ``known``: ``exact``, ``after:STEP`` or ``undetermined``; ``problem``: what would stop it now.

    ``replaces`` names what a destructive step replaces, or what else ``verb`` says that it does to it; ``along`` is what goes
    with it, in a sentence. ``facts`` were found, and have to be the same whenever the step goes on; ``skipped`` says why it would
    not run.
    ``given_by``: steps for whose outputs something stands in the list; not ``listed``: no list can be made before they ran.
    ``only_if``: conditions that aren't decided yet; the list is what runs if they hold.
    """

    step: Step
    effect: Effect
    operations: Operations
    known: str
    replaces: str = ""
    verb: str = "replaces"
    along: str = ""
    skipped: str = ""
    problem: Problem | None = None
    refused: bool = False
    facts: Mapping[str, Json] = field(default_factory=dict)
    listed: bool = True
    given_by: tuple[str, ...] = ()
    only_if: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DryRun:
    """A whole dry-run. ``expected_s`` are the durations of steps in earlier runs, where there were any."""

    plan: Plan
    environment: str
    live: bool
    steps: tuple[Shown, ...]
    critical: CriticalPath
    expected_s: Mapping[str, float]

    @property
    def forecast_s(self) -> float | None:
        """How long the critical path took in earlier runs; None unless each of its steps is known, or would be skipped."""
        skipped = {shown.step.id for shown in self.steps if shown.skipped}
        path = [step for step in self.critical.steps if step not in skipped]
        known = all(step in self.expected_s for step in path)
        return sum(self.expected_s[step] for step in path) if path and known else None


_OF_THE_RUN = re.compile("(?<![a-z0-9])plan(?![a-z0-9])")
_DIGEST = re.compile("[0-9a-f]{64}")
_SHORT = 100
"""Characters of a fact that the page shows; the JSON has all of them."""
_SECTIONS = {Section.ON_FAILURE: "if a step fails", Section.FINALLY: "in any case, at the end"}
_EFFECTS = {
    Effect.READS: "reads",
    Effect.CREATES: "creates",
    Effect.CHANGES: "changes",
    Effect.DESTROYS: "DESTROYS",
}


def as_json(dry: DryRun) -> dict[str, Json]:
    """The dry-run as the contract's object."""
    return {
        "plan": dry.plan.name,
        "environment": dry.environment,
        "digest": dry.plan.digest,
        "steps": [_step_json(shown, live=dry.live) for shown in dry.steps],
        "critical_path": list(dry.critical.steps),
        "forecast_s": dry.forecast_s,
    }


def _step_json(shown: Shown, *, live: bool) -> dict[str, Json]:
    problem = shown.problem
    return {
        "id": shown.step.id,
        "uses": shown.step.uses,
        "needs": list(shown.step.needs),
        "effect": shown.effect.value,
        "facts": dict(shown.facts),
        "operations": _operations_json(shown.operations),
        "known": shown.known,
        "listed": shown.listed,
        "given_by": list(shown.given_by),
        "only_if": list(shown.only_if),
        "replaces": shown.replaces or None,
        "verb": shown.verb if shown.replaces else None,
        "along": shown.along or None,
        "asks": _asks(shown, live=live) or None,
        "skipped": shown.skipped or None,
        "problem": None if problem is None else {"code": problem.code, "summary": problem.summary},
    }


def _operations_json(operations: Operations) -> list[Json]:
    listed: list[Json] = []
    for operation in operations:
        listed.append({"kind": kind(operation), "text": paste(operation), "reads": operation.reads})
        if isinstance(operation, Session):
            listed += _operations_json(operation.body)
    return listed


def as_text(dry: DryRun) -> str:
    """The dry-run as a page of text."""
    lines = [f"{dry.plan.name}: {dry.plan.title}", f"environment {dry.environment}{' (live)' if dry.live else ''}", ""]
    section = Section.STEPS
    for number, shown in enumerate(dry.steps, start=1):
        if shown.step.section is not section:
            section = shown.step.section
            lines += [f"— {_SECTIONS[section]} —", ""]
        lines += [*_step_lines(number, shown, live=dry.live), ""]
    return "\n".join([*lines, *_foot(dry)])


def _step_lines(number: int, shown: Shown, *, live: bool) -> list[str]:
    step = shown.step
    where = f" on {step.on}" if step.on else ""
    lines = [f"{number:>3}. {titled(step)}", f"     {step.id}: {step.uses}{where} · {_EFFECTS[shown.effect]}"]
    if shown.skipped:
        return [*lines, f"     would be skipped: {shown.skipped}"]
    if _destroys(shown):
        lines.append(f"     {shown.verb} {shown.replaces}")
    lines += [f"     {line}" for line in shown.along.splitlines()]
    if asks := _asks(shown, live=live):
        lines.append(f"     {asks}")
    if shown.problem:
        return [*lines, "     would stop here:", *(f"       {line}" for line in shown.problem.render().splitlines())]
    if found := _found(shown.facts):
        lines.append(f"     found: {found}")
    lines += [f"     only if {condition}, which can't be told yet" for condition in shown.only_if]
    if note := _known(shown):
        lines.append(f"     {note}")
    return lines + _operation_lines(shown.operations, indent=5)


def _destroys(shown: Shown) -> bool:
    """Whether the step is about to destroy something: not where it was looked at, and nothing is left to do."""
    nothing = shown.known == "exact" and shown.listed and not shown.operations
    return bool(shown.replaces) and not shown.skipped and not nothing


def _asks(shown: Shown, *, live: bool) -> str:
    """What a person is asked before the step, and the option that answers it; empty where nobody is asked."""
    confirm = " ".join(shown.step.confirm.split())
    if live and shown.effect is Effect.DESTROYS:
        name = shell_word(shown.replaces) if shown.replaces else "NAME"
        return f"asks for the name of what it {shown.verb} (--confirm {name})" + (f": {confirm}" if confirm else "")
    return f"asks first (--yes): {confirm}" if confirm else ""


def _found(facts: Mapping[str, Json]) -> str:
    """Those facts that are of one word or a few, in a line; digests by their beginning."""
    shown = {name: str(value) for name, value in facts.items() if isinstance(value, str | int) and value != ""}
    told = {name: f"{text[:16]}…" if _DIGEST.fullmatch(text) else text for name, text in shown.items()}
    return ", ".join(f"{name} {text}" for name, text in told.items() if len(text) <= _SHORT and "\n" not in text)


def _known(shown: Shown) -> str:
    """How well the list is known, as the line above it."""
    if not shown.listed:
        return f"what it does follows from what {_give(shown.given_by)}, and can't be listed before"
    if shown.known == "exact":
        return "" if shown.operations else "nothing to do but to check"
    after = shown.known.removeprefix("after:")
    how = "not looked at" if after == shown.known else f"settled after {after}"
    if not shown.operations:
        return f"{how}; nothing to do but to check"
    stands = f" (<…> stands for what {_give(shown.given_by)})" if shown.given_by else ""
    return f"{how}; what runs is among these{stands}:"


def _give(steps: tuple[str, ...]) -> str:
    return f"{' and '.join(steps)} {'gives' if len(steps) == 1 else 'give'}"


def _operation_lines(operations: Operations, *, indent: int) -> list[str]:
    lines: list[str] = []
    for operation in operations:
        text = paste(operation)
        mark = "?" if operation.reads else "!"
        first, *rest = text.splitlines() or [""]
        lines += [f"{' ' * indent}{mark} {operation.name}: {first}", *(f"{' ' * indent}  {line}" for line in rest)]
    return lines


def _foot(dry: DryRun) -> list[str]:
    destroyed: dict[str, list[str]] = {}
    for shown in dry.steps:
        if _destroys(shown):
            destroyed.setdefault(shown.verb, []).append(shown.replaces)
    lines = ["? reads   ! changes something; nothing was changed by this dry-run"]
    lines += [f"{verb}: {', '.join(dict.fromkeys(names))}" for verb, names in destroyed.items()]
    if any(_OF_THE_RUN.search(paste(operation)) for shown in dry.steps for operation in shown.operations):
        lines.append("`plan` in a name stands where the run's id will be")
    if dry.critical.steps:
        lines.append(f"critical path: {' → '.join(dry.critical.steps)}")
    if dry.forecast_s is not None:
        lines.append(f"expected duration: {show_duration(dry.forecast_s)}, as in earlier runs")
    return lines
