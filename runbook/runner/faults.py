"""What can go wrong in a step's life, in words for a tired person.

Owns the problems that the runner itself raises; actions and transports bring their own.
"""

from __future__ import annotations

import json
from dataclasses import replace

from runbook.errors import Problem
from runbook.operation import Json, Operation, Operations
from runbook.paste import paste
from runbook.quoting import shell_word


def something_left(step: str, operation: Operation) -> Problem:
    """The closing round found work."""
    return Problem(
        "E211",
        "the step ran to its end, and something is still left to change",
        f"step {step}: {operation.name}: {paste(operation)}",
        "look at the step's log, mend the cause, then `runbook resume`",
    )


def drifted(step: str, name: str, before: Json, now: Json) -> Problem:
    """A guard fact differs from what was recorded."""
    return Problem(
        "E401",
        "the target is not the one that this step began on",
        "\n".join(f"step {step}: {line}" for line in differing(name, before, now)),
        "find out who changed it and put it back, then resume; or `runbook abandon` ends the run",
    )


def differing(name: str, before: Json, now: Json) -> list[str]:
    """What was recorded and what is, in lines: of two objects only what differs."""
    if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
        return [
            line
            for key in before
            if before[key] != now[key]
            for line in differing(f"{name}: {key}", before[key], now[key])
        ]
    return [f"{name} was {_plain(before)}, and is {_plain(now)}"]


def _plain(value: Json) -> str:
    match value:
        case None | "" | [] | {} | {"absent": True}:
            return "not there"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def not_approved(run: str, step: str, operation: Operation) -> Problem:
    """A resumed plan needs more than what was approved."""
    return Problem(
        "E402",
        "going on would need an operation that was not shown before",
        f"step {step}: {operation.name}: {paste(operation)}",
        f"look at what changed; put it back, or do by hand what the step is for, then `runbook resume {run}`"
        f" (with `--skip {shell_word(step)} --reason …`, if the step isn't needed any more);"
        f" or `runbook abandon {run} --reason …` and apply anew",
    )


def cannot_know(run: str, step: str, operation: str) -> Problem:
    """No record, no probe: only a person can tell."""
    return Problem(
        "E601",
        "it was begun, and how it ended can't be known from here",
        f"step {step}: no record shows that {operation} ended well",
        f"look at the system, then `runbook resolve {run} {shell_word(step)} --as done|not-done --reason …`",
    )


def no_longer_needed(run: str, step: str, why: str) -> Problem:
    """A step that was begun is to be settled, and its condition has become false."""
    return Problem(
        "E604",
        "it was begun, and its condition has become false since",
        f"step {step}: {why}",
        f"look at the system, then `runbook resolve {run} {shell_word(step)} --as done|not-done --reason …`",
    )


def frozen_with(problem: Problem, *, run: str, plan: str, inputs: tuple[str, ...]) -> Problem:
    """An input turned out wrong in a run that keeps the inputs that it began with. ``inputs``: those of the plan that gave it."""
    given = "".join(f" -i {name}=VALUE" for name in inputs)
    said = "A resume would meet it again: the run keeps the plan and the inputs that it began with."
    then = f"runbook apply {plan}{given}" if inputs else f"mend the plan, and runbook apply {plan}"
    fix = f"runbook abandon {run} --reason …; then {then}, with the other options as before"
    return replace(problem, detail=f"{problem.detail}\n{_hint(problem)}{said}".strip(), fix=fix)


def without_its_giver(problem: Problem, *, run: str, step: str) -> Problem:
    """An output is missing since a person skipped the step that gives it: no resume will bring it."""
    skip = f"runbook resume {run} --skip {shell_word(step)} --reason …"
    return replace(problem, fix=f"{skip}, where it isn't needed either; or runbook abandon {run} --reason …")


def settle_by_hand(problem: Problem, *, run: str, step: str) -> Problem:
    """A step that was begun is to be settled, and can't be prepared any more."""
    fix = f"look at the system, then `runbook resolve {run} {shell_word(step)} --as done|not-done --reason …`"
    return replace(problem, detail=f"{problem.detail}\n{_hint(problem)}".strip(), fix=fix)


def _hint(problem: Problem) -> str:
    """What the problem's own remedy says, which still tells what would be right."""
    return f"{problem.fix[:1].upper()}{problem.fix[1:]}.\n" if problem.fix else ""


def out_of_time(step: str, operation: str) -> Problem:
    """The time of the attempt is over before an operation began."""
    return Problem(
        "E212",
        "the time for the step is over",
        f"step {step}: {operation} was not begun any more",
        "look why it was slow, then `runbook resume`: it has its whole time again; a longer `timeout` in the plan is for the next"
        " apply, since a run keeps its plan",
    )


def taken_back(problem: Problem, back: Operations) -> Problem:
    """The failure, with what was performed since so that it leaves nothing half-way."""
    return replace(problem, detail=_with_lines(problem, "Taken back since:", back))


def left_behind(problem: Problem, back: Operations, why: Problem | None) -> Problem:
    """The failure, with the lines that a person may need before the step is gone on with."""
    if why is not None:
        return replace(problem, detail=_with_lines(problem, f"Could not be taken back ({why.summary}). By hand:", back))
    return replace(
        problem, detail=_with_lines(problem, "If nobody goes on with it, it has to be taken back by hand:", back)
    )


def _with_lines(problem: Problem, said: str, back: Operations) -> str:
    lines = (f"  {line}" for one in back for line in paste(one).splitlines())
    return "\n".join([problem.detail, said, *lines]).strip()
