"""What each command would do with a run, in a few lines: for a person who has to choose one.

Owns :func:`explained`. Pure. Promises: what a resume would do is what the engine decides where all goes well; most important
first, and no more lines than are read: of one kind of command two are told, the others are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import assert_never

from runbook.engine.events import CONFIRM, StepEvent, StepResolved, StepSkipped
from runbook.engine.run import Run
from runbook.engine.transitions import RunStatus, Status
from runbook.plan.model import Section
from runbook.report.forecast import Forecast, forecast
from runbook.report.held import Hold
from runbook.report.known import Known
from runbook.report.ways import Kind, Way, ways

MOST_WAYS, MOST_NAMES, LONGEST_COMMANDS = 2, 6, 160
_OVER = (Status.SUCCEEDED, Status.SKIPPED, Status.UNDONE)


def explained(name: str, run: Run, status: RunStatus, known: Known) -> tuple[Way, ...]:
    """The commands that make sense now, with what each would do."""
    teller = _Teller(run, known)
    possible = [way for way in ways(name, run, status) if way.kind is not Kind.SKIP or teller.can_do_without(way.step)]
    kept = [way for _, some in groupby(possible, key=lambda way: way.kind) for way in _few(list(some))]
    if any(step not in known.unseen for step in run.unknown):
        kept.sort(key=lambda way: way.kind is not Kind.RESUME)  # before anybody is asked it can be looked at
    return tuple(replace(way, does=tuple(teller.does(way))) for way in kept)


def _few(some: list[Way]) -> list[Way]:
    left = len(some) - MOST_WAYS
    if left <= 0:
        return some
    last = some[MOST_WAYS - 1]
    more = f"and so for {left} more: {_listed([way.step for way in some[MOST_WAYS:]])}"
    return [*some[: MOST_WAYS - 1], replace(last, why=f"{last.why}; {more}" if last.why else more)]


@dataclass(frozen=True)
class _Teller:
    run: Run
    known: Known

    def does(self, way: Way) -> Iterator[str]:
        match way.kind:
            case Kind.ANSWER:
                yield self._answer(way.step)
            case Kind.RESOLVE:
                yield from self._resolve(way.step)
            case Kind.RESUME:
                yield from self._resume()
            case Kind.SKIP:
                yield from self._skip(way.step)
            case Kind.ABANDON:
                yield from self._abandon()
            case Kind.FOLLOW:
                return
            case _:
                assert_never(way.kind)

    def can_do_without(self, step: str) -> bool:
        """Whether the steps that have still to run can do without the outputs of one."""
        if self.known.needed is None:
            return False
        return all(self.run.step(user).status in _OVER for user in self.known.needed.get(step, ()))

    def _answer(self, step: str) -> str:
        question = self.run.step(step).question
        if question is not None and question.kind == "approval":
            given = len([one for one in self.run.step(step).approvals if one.subject == question.subject])
            return f"is number {given + 1} of the {question.needs} that {step} needs; nothing runs before the resume"
        word = f"{step} may begin then" if question is not None and question.kind == CONFIRM else "it is recorded"
        return f"{word}; nothing runs before the resume"

    def _resolve(self, step: str) -> Iterator[str]:
        done = self._then(StepResolved(step, "done", "", "", {}))
        again = self._then(StepResolved(step, "not-done", "", "", {}))
        yield f"done: it is verified, where that is possible; then a resume {done}"
        yield f"not-done: then a resume {again}"

    def _resume(self) -> Iterator[str]:
        if self.known.alive:
            yield f"waits for what is still at work: {_listed(sorted(self.known.alive))}"
        yield self._then()

    def _skip(self, step: str) -> Iterator[str]:
        half = "what it may have left half-way stays; " if self._half(step) else ""
        yield f"{half}{self._then(said=StepSkipped(step, '', 'somebody'))}"

    def _abandon(self) -> Iterator[str]:
        if self.known.alive:
            yield f"not before what is still at work has ended ({_listed(sorted(self.known.alive))}): exit code 5"
        for hold in self.known.holds[:MOST_WAYS]:
            yield _left(hold)
        if len(self.known.holds) > MOST_WAYS:
            yield f"and {len(self.known.holds) - MOST_WAYS} more holds stay"
        half = [step for step in self.run.graph.listed if self._half(step)]
        kept = [str(out["kept_as"]) for _, out in sorted(self.run.outputs.items()) if out.get("kept_as")]
        unrun = [step for step in self.run.graph.section(Section.FINALLY) if self.run.step(step).status not in _OVER]
        parts = (
            f"half-way: {_listed(half)}" if half else "",
            f"copies: {_listed(kept)}" if kept else "",
            f"not run any more: {_listed(unrun)}" if unrun else "",
        )
        if told := "; ".join(part for part in parts if part):
            yield f"stays as it is: {told}" if half or kept else told
        if not self.known.alive:
            yield "another run may have its targets: no lock of it is left"

    def _half(self, step: str) -> bool:
        state = self.run.step(step)
        return state.touched and state.status not in _OVER and step not in self.run.graph.releases()

    def _then(self, *before: StepEvent, said: StepEvent | None = None) -> str:
        """What a resume would do after these words."""
        run = self.run
        cast = forecast(run, self.known.unseen, *before, said=said)
        groups = groupby(cast.steps, key=lambda step: self._part(step, cast))
        parts = [_said(part, self._names(list(steps))) for part, steps in groups]
        parts += [f"can't see how {_listed(cast.unseen)} ended, and ends with 6"] if cast.unseen else []
        if not parts:
            return f"has nothing left to do, and the run ends as {cast.ends}"
        end = f"; it ends as {cast.ends}" if cast.ends is RunStatus.COMPLETED_WITH_FAILURES else ""
        return f"{', '.join(parts)}{end}"

    def _part(self, step: str, cast: Forecast) -> str:
        """The part that a step has in a resume."""
        state, spec = self.run.step(step), self.run.graph.steps[step]
        if step in cast.settles:
            return "looks"
        if spec.section is not Section.STEPS:
            return "ends"
        if spec.releases and state.status is not Status.FAILED:
            return f"releases {spec.releases}"
        if step in self.run.graph.releases() and state.attempt and state.status is not Status.FAILED:
            return "keeps" if state.in_force and step not in self.known.blind else "takes"
        if state.question is not None and state.question.kind != CONFIRM and state.attempt:
            return "goes"
        return "tries" if state.attempt else "begins"

    def _names(self, steps: list[str]) -> str:
        return _listed([self._name(step) for step in dict.fromkeys(steps)])

    def _name(self, step: str) -> str:
        state = self.run.step(step)
        if step in self.known.asking and state.consent is None and state.question is None:
            return f"{step} (asks a person)"
        if step in self.known.conditional and not state.attempt:
            return f"{step} (if its condition holds)"
        spec = self.run.graph.steps[step]
        return f"{step} (releases {spec.releases})" if spec.releases and spec.section is not Section.STEPS else step


def _said(part: str, names: str) -> str:
    match part:
        case "looks":
            return f"looks how {names} ended and does what remains"
        case "takes":
            return f"takes {names} again"
        case "keeps":
            return f"makes sure that {names} still holds"
        case "tries":
            return f"tries {names} again"
        case "goes":
            return f"goes on with {names}"
        case "begins":
            return f"begins {names}"
        case "ends":
            return f"runs {names} at the end"
        case _:
            return f"{part} ({names})"


def _left(hold: Hold) -> str:
    stays = f"{', '.join(hold.what)} stay stopped" if hold.what else f"what {hold.step} holds stays held"
    commands = " && ".join(hold.commands)
    if not commands:
        return stays
    if "\n" in commands or len(commands) > LONGEST_COMMANDS:
        return f"{stays}; how it is taken back by hand is told then"
    return f"{stays}; by hand: {commands}"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    left = len(names) - MOST_NAMES
    return f"{', '.join(names[:MOST_NAMES])} and {left} more" if left > 0 else ", ".join(names)
