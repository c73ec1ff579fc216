"""What can be done with a run now: the commands, and why one would give them.

Owns :class:`Way` and :func:`ways`; :func:`what_next` is their short form. What each would do is in ``does.py``. Pure. Promises:
every state that is not final names its next commands, and none that the program doesn't have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from runbook.engine.decide import open_holds
from runbook.engine.events import StepWaiting
from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus, Status
from runbook.operation import Json
from runbook.plan.model import Section
from runbook.quoting import shell_word
from runbook.report.line import Line

_LASTING = frozenset({"E144", "E161", "E224", "E225"})
"""What a resume can't mend, since it has the plan and the inputs that the run began with."""


class Kind(StrEnum):
    """What a command does with the run."""

    ANSWER = "answer"
    RESOLVE = "resolve"
    RESUME = "resume"
    SKIP = "skip"
    ABANDON = "abandon"
    FOLLOW = "follow"


@dataclass(frozen=True, slots=True)
class Way:
    """A command, and why one would give it. ``step``: the one that it is about; ``does``: what it would do, where that is asked."""

    kind: Kind
    command: str
    why: str = ""
    step: str = ""
    tone: str = "plain"
    does: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Command and why, in a line."""
        return f"{self.command}   ({self.why})" if self.why else self.command


def what_next(name: str, run: Run, status: RunStatus) -> tuple[Line, ...]:
    """The commands that make sense now; none for a run that is finished."""
    return tuple(Line("→", way.told, way.tone) for way in ways(name, run, status) if way.kind is not Kind.SKIP)


def as_lines(ways: tuple[Way, ...]) -> Iterator[Line]:
    """A line a command, and below it what it would do."""
    for way in ways:
        yield Line("→", way.told, way.tone)
        yield from (Line("     ", text, "dim") for text in way.does)


def as_json(way: Way) -> dict[str, Json]:
    """The object of ``show --json``."""
    return {
        "kind": way.kind.value,
        "step": way.step or None,
        "command": way.command,
        "why": way.why or None,
        "does": list(way.does),
    }


def ways(name: str, run: Run, status: RunStatus) -> tuple[Way, ...]:
    """Every command that makes sense now, without what it would do; none for a run that is finished."""
    if status.final:
        return ()
    if status is RunStatus.RUNNING:
        return (Way(Kind.FOLLOW, f"runbook logs {name} -f", "what it does, as it goes"),)
    abandon = f"runbook abandon {name} --reason …"
    if status is RunStatus.FAILED and _lasts(run):
        stays = "; what is held stays held" if open_holds(run) else ""
        return (Way(Kind.ABANDON, abandon, f"a resume can't mend it: apply anew{stays}"),)
    stays = "what is held stays held" if open_holds(run) else "nothing is undone"
    return (
        *_words(name, run),
        Way(Kind.RESUME, f"runbook resume {name}", _why(run, status)),
        *_skips(name, run),
        Way(Kind.ABANDON, abandon, f"ends it; {stays}", tone="dim"),
    )


def _words(name: str, run: Run) -> Iterator[Way]:
    """What people can say of steps that wait for them, or of which nobody knows how they ended."""
    for step in run.graph.listed:
        state = run.step(step)
        if state.status is Status.WAITING and state.question is not None:
            command, choices = _answer(name, state.question)
            yield Way(Kind.ANSWER, command, choices, step, "ask")
        if state.status is Status.UNKNOWN:
            command = f"runbook resolve {name} {shell_word(step)} --as done|not-done --reason …"
            yield Way(Kind.RESOLVE, command, f"after you looked: {run.graph.steps[step].title}", step, "ask")


def _why(run: Run, status: RunStatus) -> str:
    """Why one would resume the run."""
    match status:
        case RunStatus.FAILED:
            return "tries again what failed; what is done stays done"
        case RunStatus.UNKNOWN:
            return (
                "looks at the world again, then goes on or asks" if run.unknown else "goes on: nothing is unknown now"
            )
        case RunStatus.WAITING:
            return "once that is answered" if run.waiting else "goes on: all is answered"
        case _:
            return "finds out what ran, then goes on"


def _skips(name: str, run: Run) -> Iterator[Way]:
    """Steps that failed, and that a person may take over."""
    for step in run.graph.listed:
        if step in run.failed and run.graph.steps[step].section is Section.STEPS:
            command = f"runbook resume {name} --skip {shell_word(step)} --reason …"
            yield Way(Kind.SKIP, command, "where its work is done by hand, or not needed", step, "dim")


def _answer(name: str, question: StepWaiting) -> tuple[str, str]:
    """The command that answers a question, and the choices that there are."""
    if question.kind == "approval":
        return f"runbook approve {name} {shell_word(question.step)}", ""
    asked = [f"-i {one['name']}=…" for one in question.questions]
    known = [f"{one['name']}: {_choices(one)}" for one in question.questions if one.get("choices")]
    target = [f"--confirm {shell_word(question.target)}"] if question.target else []
    return " ".join(["runbook confirm", name, shell_word(question.step), *asked, *target]), "; ".join(known)


def _choices(asked: Mapping[str, Json]) -> str:
    known = asked.get("choices")
    return ", ".join(map(str, known)) if isinstance(known, list | tuple) else ""


def _lasts(run: Run) -> bool:
    """Whether all that failed would fail again, whatever is mended in the world."""
    problems = [run.step(step).problem for step in run.failed]
    return bool(problems) and all(isinstance(one, dict) and one.get("code") in _LASTING for one in problems)
