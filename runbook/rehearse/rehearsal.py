"""Every rehearsal of a plan: undisturbed, killed everywhere, and each step failing once.

Owns :func:`rehearse`. Promises: what is reported was tried; of kills that are too many some are taken, evenly
spread, and the report says of how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runbook.action import Interrupted
from runbook.check.fields import interrupted_of
from runbook.engine.transitions import RunStatus, Status
from runbook.operation import Ask
from runbook.plan.model import OnFailure, Section, Step
from runbook.rehearse.stub import Stub
from runbook.rehearse.trial import Came, Disturbance, Trial
from runbook.rehearse.world import Fate
from runbook.report.dryrun import Shown
from runbook.report.rehearsal import AfterFailure, AsksThen, Broke, Never, Rehearsed, Tried
from runbook.runner.execution import Order
from runbook.runner.setting import AnyAction

BOUNDARY = "killed before a record of the journal was written"
FAILS = "a step that fails, mended and resumed"
LEAST_VARIANTS = 2
_ENDS_WELL = (RunStatus.SUCCEEDED, RunStatus.COMPLETED_WITH_FAILURES)


@dataclass
class _Rehearsal:
    order: Order
    shown: Mapping[str, Shown]
    actions: Mapping[str, AnyAction]
    most: int
    tell: Callable[[int], None]
    tried: int = 0
    there: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    again: set[str] = field(default_factory=set)
    began: set[str] = field(default_factory=set)
    failures: dict[str, AfterFailure] = field(default_factory=dict)
    broke: list[Broke] = field(default_factory=list)

    @property
    def steps(self) -> Mapping[str, Step]:
        return {step.id: step for step in self.order.plan.steps}

    def trial(self, variant: int) -> Trial:
        return Trial(self.order, self.shown, self.actions, variant=variant)

    def variant(self, number: int) -> None:
        """Everything that can be disturbed with these values, unless they lead to no step that others don't lead to."""
        first = self.trial(number)
        still = first.go(Disturbance())
        self.counts["undisturbed"] += 1
        self.there["undisturbed"] += 1
        if still.status not in _ENDS_WELL:
            self.broke.append(Broke("undisturbed", _end(still)))
            self.began |= still.began
            return
        self.held["undisturbed"] += 1
        if number and still.began <= self.began:
            return
        self.began |= still.began
        self._kills(number, first, still)
        self._failures(number, still)

    def _kills(self, variant: int, first: Trial, still: Came) -> None:
        boundaries = [Disturbance(kill_at=at) for at in range(1, still.appends + 1)]
        acting = [
            (step, one.name)
            for step, stub in first.stubs.items()
            if step in still.began and isinstance(stub, Stub)
            for one in stub.operations
            if not one.reads and not isinstance(one, Ask)
        ]
        inside = {fate.value: [Disturbance(fate=(*where, fate)) for where in acting] for fate in Fate}
        for what, all_of_them in {BOUNDARY: boundaries, **inside}.items():
            self.there[what] += len(all_of_them)
            for disturbance in _evenly(all_of_them, self.most):
                came = self._try(variant, disturbance)
                self._judge(what, disturbance, came, self._as_undisturbed(came, still))

    def _failures(self, variant: int, still: Came) -> None:
        for step in self.order.plan.steps:
            if step.id not in still.began or step.id in self.failures:
                continue
            self.there[FAILS] += 1
            came = self._try(variant, Disturbance(failing=step.id))
            self.failures[step.id] = self._after(step.id, came)
            self._judge(FAILS, Disturbance(failing=step.id), came, "" if came.status in _ENDS_WELL else _end(came))

    def _try(self, variant: int, disturbance: Disturbance) -> Came:
        came = self.trial(variant).go(disturbance)
        self.tried += 1
        self.tell(self.tried)
        self.began |= came.began
        self.asked.update(came.asked)
        self.again.update(step for step in (one.split("/")[0] for one in came.twice) if self._may_repeat(step))
        return came

    def _judge(self, what: str, disturbance: Disturbance, came: Came, wrong: str) -> None:
        self.counts[what] += 1
        if wrong:
            self.broke.append(Broke(_named(disturbance), wrong))
        else:
            self.held[what] += 1

    def _as_undisturbed(self, came: Came, still: Came) -> str:
        """What is not as in the undisturbed run, or ''."""
        if came.status is not still.status:
            return _end(came)
        if came.done != still.done:
            return f"other effects: {_differs(came.done, still.done)}"
        twice = [one for one in came.twice if one not in still.twice and not self._may_repeat(one.split("/")[0])]
        return f"done twice: {', '.join(twice)}" if twice else ""

    def _may_repeat(self, step_id: str) -> bool:
        """Whether it may have its effect again: repeatable by its own word, a hold or its release, or one of the run's end."""
        step = self.steps[step_id]
        if step.section is not Section.STEPS:
            return True
        held = {one.releases for one in self.order.plan.steps if one.releases}
        how = interrupted_of(self.actions[step.uses], step)
        return how is Interrupted.REPEATABLE or bool(step.releases) or step_id in held

    def _after(self, failed: str, came: Came) -> AfterFailure:
        run = came.first
        if run is None or came.exit_code is None:
            return AfterFailure(failed, "killed", 1, (), (), ())
        ended = (Status.SUCCEEDED, Status.SKIPPED)
        ran = tuple(
            one
            for one in run.graph.listed
            if run.step(one).status is Status.SUCCEEDED
            and (
                run.graph.steps[one].section is not Section.STEPS
                or any(run.step(need).status not in ended for need in run.graph.before[one])
            )
        )
        releases = {one.releases: one.id for one in self.order.plan.steps if one.releases}
        held = tuple(
            hold
            for hold, release in releases.items()
            if run.step(hold).status is Status.SUCCEEDED and run.step(release).status not in ended
        )
        missing = (Status.CANCELLED, Status.PENDING)
        undone = tuple(one for one in run.graph.section(Section.STEPS) if run.step(one).status in missing)
        return AfterFailure(failed, run.status.value, int(came.exit_code), ran, held, undone)

    def result(self) -> Rehearsed:
        words = ("undisturbed", BOUNDARY, *(fate.value for fate in Fate), FAILS)
        return Rehearsed(
            plan=self.order.plan.name,
            environment=self.order.environment.name,
            steps=len(self.order.plan.steps),
            tried=tuple(
                Tried(what, self.there[what], self.counts[what], self.held[what]) for what in words if self.there[what]
            ),
            asks=tuple(self._asks()),
            again=tuple(step.id for step in self.order.plan.steps if step.id in self.again),
            failures=tuple(self.failures.values()),
            never=tuple(self._never()),
            broke=tuple(self.broke),
        )

    def _asks(self) -> Iterator[AsksThen]:
        for step, times in self.asked.items():
            probe = "give it a `probe:`, or `interrupted: repeat` where doing it twice does no harm"
            uses = self.steps[step].uses
            yield AsksThen(step, uses, probe if uses == "shell.run" else "", times)

    def _never(self) -> Iterator[Never]:
        for step in self.order.plan.steps:
            if step.id not in self.began:
                yield Never(step.id, self._why_never(step))

    def _why_never(self, step: Step) -> str:
        if step.when and "steps." not in step.when and step.section is Section.STEPS:
            return f"its condition does not hold with these inputs: {step.when}"
        if step.when:
            return f"its condition held in none of them: {step.when}"
        if step.section is Section.ON_FAILURE:
            continues = all(
                one.on_failure is OnFailure.CONTINUE for one in self.order.plan.steps if one.section is Section.STEPS
            )
            return (
                "no failure leads here: every step says `on_failure: continue`" if continues else "no failure led here"
            )
        return "what it needs never came to a good end"


def rehearse(
    order: Order,
    shown: Iterable[Shown],
    actions: Mapping[str, AnyAction],
    *,
    most: int,
    tell: Callable[[int], None] = lambda _tried: None,
) -> Rehearsed:
    """Rehearse a bound plan of which ``shown`` is the dry-run; of each kind of kill at most ``most`` are tried, evenly spread.

    ``tell`` hears after each how many were tried so far.
    """
    by_step = {one.step.id: one for one in shown}
    rehearsal = _Rehearsal(order, by_step, actions, most, tell)
    asks = [one for each in by_step.values() for one in each.operations if isinstance(one, Ask)]
    choices = (len(question.choices) for ask in asks for question in ask.questions)
    for number in range(max((LEAST_VARIANTS, *choices))):
        rehearsal.variant(number)
    return rehearsal.result()


def _evenly(all_of_them: Sequence[Disturbance], most: int) -> Sequence[Disturbance]:
    if len(all_of_them) <= most:
        return all_of_them
    return [all_of_them[number * len(all_of_them) // most] for number in range(most)]


def _named(one: Disturbance) -> str:
    if one.failing:
        return f"{one.failing} fails"
    if one.fate is not None:
        step, name, fate = one.fate
        return f"{step}/{name}: {fate.value}"
    return f"killed before record {one.kill_at}" if one.kill_at else "undisturbed"


def _end(came: Came) -> str:
    if came.last is None:
        return "it was killed, and never began"
    problems = [
        f"{step}: {problem.get('summary', '')} {problem.get('detail', '')}".strip()
        for step in came.last.graph.listed
        if isinstance(problem := came.last.step(step).problem, dict)
    ]
    return f"it ended {came.last.status}" + (f" ({'; '.join(problems)})" if problems else "")


def _differs(found: Mapping[str, set[str]], wanted: Mapping[str, set[str]]) -> str:
    steps = sorted(step for step in found.keys() | wanted.keys() if found.get(step) != wanted.get(step))
    return ", ".join(f"{step} has {sorted(found.get(step, ()))}, not {sorted(wanted.get(step, ()))}" for step in steps)
