"""A plan as the rules look at it: its graph, what each step does, and where each backup comes from.

Owns :class:`Survey`. Promises: a step whose action doesn't exist is left out, so that the rules can be asked of a plan with
faults; what is a proof, a restore or a verification follows from an action's types, not from a list of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from runbook.action import Effect
from runbook.check.fields import AnyAction, artifact_fields, effect_of
from runbook.check.references import Outputs
from runbook.graph import Graph
from runbook.plan.model import OnFailure, Plan, Step

PEOPLE = frozenset(("manual", "approval"))
"""Actions whose work is done by people, whose time no timeout counts."""


@dataclass(frozen=True)
class Survey:
    """What rules are given. ``actions`` are by step id; ``today`` is the date on which the plan is judged, if it is known."""

    plan: Plan
    graph: Graph
    actions: Mapping[str, AnyAction]
    today: date | None = None

    @cached_property
    def outputs(self) -> Outputs:
        """Who gives what."""
        return Outputs(self.plan, self.actions)

    @cached_property
    def effects(self) -> Mapping[str, Effect]:
        """What each step does to the world."""
        return {step: effect_of(action, self.graph.steps[step]) for step, action in self.actions.items()}

    def steps(self, *effects: Effect) -> Iterator[Step]:
        """The steps with one of these effects, in order; all of them if none is named."""
        for step in self.graph.order:
            if step in self.actions and (not effects or self.effects[step] in effects):
                yield self.graph.steps[step]

    def takes_artifact(self, step: Step) -> bool:
        """Whether the step is given a backup."""
        fields = artifact_fields(self.actions[step.id].inputs_type)
        return any(step.with_.get(field) is not None for field in fields)

    def gives_artifact(self, step: Step) -> bool:
        """Whether the step's outputs hold a backup."""
        return bool(artifact_fields(self.actions[step.id].outputs_type))

    def proves(self, step: Step) -> bool:
        """Whether the step proves a backup: reads what it was given, and passes it on."""
        reads = self.effects[step.id] is Effect.READS
        return reads and self.takes_artifact(step) and self.gives_artifact(step)

    def makes_backup(self, step: Step) -> bool:
        """Whether the step makes a backup of a system."""
        return self.effects[step.id] is Effect.CREATES and self.gives_artifact(step)

    def origins(self, step: Step) -> frozenset[str]:
        """The ids of the steps that the step's backups come from; "" stands for outside of the plan."""
        fields = artifact_fields(self.actions[step.id].inputs_type)
        return frozenset().union(*(self.outputs.origins(step, field) for field in fields))

    def proofs_before(self, step: Step) -> list[Step]:
        """The proofs that are certain to have held when the step begins."""
        above = self.graph.ancestors(step.id)
        return [
            proof
            for proof in self.steps(Effect.READS)
            if proof.id in above
            and self.proves(proof)
            and proof.on_failure is OnFailure.STOP
            and proof.when in ("", step.when)
        ]

    def verifies(self, step: Step) -> bool:
        """Whether the step looks at a system to see that it is as it should be."""
        action = self.actions[step.id]
        if step.uses == "manual":
            return step.with_.get("verify") is not None
        if self.effects[step.id] is not Effect.READS or step.uses in PEOPLE:
            return False
        kind = action.system_type.kind if action.system_type else ""
        return kind != "store" and not self.gives_artifact(step)
