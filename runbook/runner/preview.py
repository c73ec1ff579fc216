"""The dry-run: the same preparation, the same observation, the same planning; and then nothing is performed.

Owns :func:`preview`; what it gives is shown by ``report/dryrun.py``. Promises: no operation is performed; where a step's
inputs and facts are known now, the list is the one that will run; where an earlier step changes or gives them, the list holds all
that can run, with placeholders for what that step gives, and ``known`` says after which step it is settled. Where only a condition
is open, the list is the one that will run if it holds. Nothing in the world is looked at for a placeholder's sake. Where no list
can be made of placeholders, none is, and the step says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from runbook.action import CheckFailed, Done, Effect, Role, Undecidable, Unreachable, roles
from runbook.check.fields import effect_of
from runbook.errors import InvalidInput, Problem, Refused
from runbook.operation import Json, Operations
from runbook.placeholder import mentions, stand_for, standing_in
from runbook.plan.model import Section, Step
from runbook.plan.render import MissingOutput
from runbook.report.dryrun import Shown
from runbook.runner.prepare import NotNeeded, Prepared, Sketch, prepare_ahead, presumed_target, values
from runbook.runner.setting import Setting
from runbook.runner.targets import named_systems


class Sight(StrEnum):
    """Whether a dry-run may read the world."""

    LOOK = "look"
    OFFLINE = "offline"


def preview(setting: Setting, sight: Sight) -> tuple[Shown, ...]:
    """Every step in the order in which it may run, section by section."""
    eye = _Preview(setting, sight)
    return tuple(eye.show(setting.graph.steps[step]) for section in Section for step in setting.graph.section(section))


class _Preview:
    def __init__(self, setting: Setting, sight: Sight) -> None:
        self._setting = setting
        self._sight = sight
        self._place: dict[str, int] = {}
        self._outputs: dict[str, Mapping[str, Json]] = {}
        self._foreseen: dict[str, Mapping[str, Json]] = {}
        self._pinned: dict[str, dict[str, Json]] = {}
        self._effects: dict[str, Effect] = {}
        # the nearest step before each step that changes a given system
        self._changed: dict[str, dict[str, str]] = {}
        # steps of which no list could be made: nobody knows what a hold among them would have to give back
        self._vague: set[str] = set()

    def show(self, step: Step) -> Shown:
        self._place[step.id] = len(self._place)
        shown = self._show(step)
        if shown.problem is not None or not shown.listed:
            self._vague.add(step.id)
        if step.id not in self._outputs and step.id not in self._foreseen:
            names = self._setting.actions[step.uses].outputs_type.model_fields
            self._foreseen[step.id] = {name: stand_for(f"steps.{step.id}.{name}") for name in names}
        return shown

    def _show(self, step: Step) -> Shown:
        action = self._setting.actions[step.uses]
        self._effects[step.id] = action.effect
        changed = self._settled_after(step)
        try:
            given = values(self._setting, self._outputs, foreseen=self._foreseen, ends_after=self._ends_after(step))
            sketch = prepare_ahead(self._setting, step, given, held=self._held(step))
        except (MissingOutput, InvalidInput) as error:
            return Shown(step, action.effect, (), "undetermined", problem=error.problems[0])
        if isinstance(sketch, NotNeeded):
            self._outputs[step.id] = {}
            return Shown(step, action.effect, (), "exact", skipped=sketch.why)
        if step.releases in self._vague:
            return self._unlisted(step, replace(sketch, given_by=sketch.given_by | {step.releases}), changed)
        if sketch.prepared is None:
            return self._unlisted(step, sketch, changed)
        prepared = sketch.prepared
        self._effects[step.id] = prepared.effect
        known = self._known(sketch, changed)
        if known == "exact":
            return self._observed(prepared)
        if sketch.given_by or changed or self._sight is Sight.OFFLINE:
            return self._assumed(prepared, sketch, changed)
        return self._conditional(prepared, sketch)

    def _ends_after(self, step: Step) -> frozenset[str]:
        """The step that is shown last of those whose ends decide how the run ends; none for one that is itself of those."""
        return (
            frozenset() if step.section is Section.STEPS else frozenset(self._setting.graph.section(Section.STEPS)[-1:])
        )

    def _known(self, sketch: Sketch, changed: str) -> str:
        """``after:`` the last of the steps that decide what this one does."""
        waits = sketch.given_by | sketch.decided_by | ({changed} if changed else set())
        if waits:
            return f"after:{max(waits, key=lambda step: self._place.get(step, 0))}"
        return "undetermined" if self._sight is Sight.OFFLINE else "exact"

    def _observed(self, prepared: Prepared) -> Shown:
        action, scope = prepared.action, prepared.scope
        try:
            facts = action.observe(self._setting.look, prepared.system, prepared.inputs, scope)
            operations = action.plan(prepared.system, prepared.inputs, facts, scope)
        except (Refused, CheckFailed) as error:
            return self._stopped(prepared, error.problems[0], refused=isinstance(error, Refused))
        except (Unreachable, Undecidable) as state:
            return self._stopped(prepared, state.problem, refused=False)
        self._pinned[prepared.step.id] = roles(facts, Role.PINNED)
        outputs = action.expect(prepared.system, prepared.inputs, facts)
        if outputs is None and not operations and prepared.effect is Effect.READS:
            done: Done[object] = Done(facts, {})
            try:
                outputs = action.verify(self._setting.look, prepared.system, prepared.inputs, done)
            except (Refused, CheckFailed) as error:
                return self._stopped(prepared, error.problems[0], refused=isinstance(error, Refused))
            except (Unreachable, Undecidable) as state:
                return self._stopped(prepared, state.problem, refused=False)
        if outputs is not None:
            self._outputs[prepared.step.id] = outputs.model_dump(mode="json")
        else:
            self._foresee(prepared, facts)
        return self._shown(prepared, operations, "exact", facts=roles(facts, Role.GUARD))

    def _conditional(self, prepared: Prepared, sketch: Sketch) -> Shown:
        """Only whether it runs is open, and what it gives is given only then. What would stop it stops nobody yet."""
        shown = self._observed(prepared)
        if shown.problem is not None:
            return self._assumed(prepared, sketch, "")
        given = self._outputs.pop(prepared.step.id, None)
        if given is not None:
            self._foreseen[prepared.step.id] = given
        return replace(shown, known=self._known(sketch, ""), only_if=sketch.only_if)

    def _assumed(self, prepared: Prepared, sketch: Sketch, changed: str) -> Shown:
        action, step, scope = prepared.action, prepared.step, prepared.scope
        try:
            facts = action.assume(prepared.system, prepared.inputs, scope)
            operations = action.plan(prepared.system, prepared.inputs, facts, scope)
            outputs = action.expect(prepared.system, prepared.inputs, facts)
            if outputs is not None:
                certain = not sketch.given_by and not sketch.decided_by
                (self._outputs if certain else self._foreseen)[step.id] = outputs.model_dump(mode="json")
            else:
                self._foresee(prepared, facts)
        except (Refused, CheckFailed) as error:
            if sketch.given_by and self._of_placeholder(error.problems[0], sketch):
                return self._unlisted(step, sketch, changed)
            return self._stopped(prepared, error.problems[0], refused=isinstance(error, Refused))
        except (Unreachable, Undecidable) as state:
            return self._stopped(prepared, state.problem, refused=False)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
            if not sketch.given_by:
                raise
            return self._unlisted(step, sketch, changed)  # it reckons with a value that isn't there yet
        self._pinned[step.id] = roles(facts, Role.PINNED)
        known = self._known(sketch, changed)
        return self._shown(prepared, operations, known, given_by=self._ordered(sketch.given_by), only_if=sketch.only_if)

    def _of_placeholder(self, problem: Problem, sketch: Sketch) -> bool:
        """Whether a refusal is one of a placeholder: its own text then shows what stands for an output."""
        return mentions(problem.detail, sketch.stands | standing_in(self._foreseen))

    def _foresee(self, prepared: Prepared, facts: object) -> None:
        outputs = prepared.action.foresee(prepared.system, prepared.inputs, facts, prepared.scope)
        if outputs is not None:
            self._foreseen[prepared.step.id] = outputs.model_dump(mode="json")

    def _shown(
        self,
        prepared: Prepared,
        operations: Operations,
        known: str,
        *,
        facts: Mapping[str, Json] | None = None,
        given_by: tuple[str, ...] = (),
        only_if: tuple[str, ...] = (),
    ) -> Shown:
        action, system, inputs = prepared.action, prepared.system, prepared.inputs
        destroys, looks = prepared.effect is Effect.DESTROYS, self._sight is Sight.LOOK
        return Shown(
            prepared.step,
            prepared.effect,
            operations,
            known,
            replaces=action.replaces(system, inputs) if destroys else "",
            verb=action.verb,
            along=action.along(self._setting.look, system, inputs, prepared.scope) if destroys and looks else "",
            facts=facts or {},
            given_by=given_by,
            only_if=only_if,
        )

    def _unlisted(self, step: Step, sketch: Sketch, changed: str) -> Shown:
        """No list can be made of what isn't known yet."""
        known, given_by = self._known(sketch, changed), self._ordered(sketch.given_by)
        action = self._setting.actions[step.uses]
        self._effects[step.id] = effect = effect_of(action, step)
        system = self._setting.environment.systems.get(step.on)
        target = presumed_target(action, step, system) if effect is Effect.DESTROYS else ""
        return Shown(
            step,
            effect,
            (),
            known,
            replaces=target,
            verb=action.verb,
            listed=False,
            given_by=given_by,
            only_if=sketch.only_if,
        )

    def _ordered(self, steps: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(steps, key=lambda step: self._place.get(step, 0)))

    def _stopped(self, prepared: Prepared, problem: Problem, *, refused: bool) -> Shown:
        return Shown(prepared.step, prepared.effect, (), "undetermined", problem=problem, refused=refused)

    def _held(self, step: Step) -> Mapping[str, Json] | None:
        return self._pinned.get(step.releases, {}) if step.releases else None

    def _settled_after(self, step: Step) -> str:
        """The nearest earlier step that changes a system of this step, or ''. Reckoned along the graph, once a step.

        A release undoes what its hold does, and the last sections follow everything that the first one may have changed.
        """
        changed: dict[str, str] = {}
        if step.section is not Section.STEPS:
            for earlier in self._setting.graph.section(Section.STEPS):
                changed |= dict.fromkeys(self._changes(earlier), earlier)
        for need in self._setting.graph.before[step.id]:
            changed |= self._changed.get(need, {})
            changed |= dict.fromkeys(self._changes(need), need)
        self._changed[step.id] = changed
        return next((changed[system] for system in self._systems(step) if system in changed), step.releases)

    def _changes(self, step_id: str) -> tuple[str, ...]:
        """The systems that a step changes: its own; one that it creates something on is where that goes to."""
        step = self._setting.graph.steps[step_id]
        named = self._systems(step)
        match self._effects[step_id]:
            case Effect.READS:
                return ()
            case Effect.CREATES:
                return tuple(system for system in named if system != step.on) or named
            case Effect.CHANGES | Effect.DESTROYS:
                return named

    def _systems(self, step: Step) -> tuple[str, ...]:
        systems = self._setting.environment.systems
        return named_systems(self._setting.plan, step, self._setting.actions[step.uses], systems)
