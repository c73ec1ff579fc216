"""A world in memory with services beside its things, so that the real actions on them hold and release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from runbook.action import Action, ContainerFacts, Done, Effect, Look, Outputs
from runbook.catalogue import CATALOGUE
from runbook.host import Host
from runbook.operation import Call, Fields, Operation
from runbook.system import Machine
from runbook.transports.outcome import Use
from tests.runner.acts import ACTS, Replace, ThingFacts, ThingInputs
from tests.runner.world import Eyes, World

BEFORE = {"web": "running", "worker": "running", "beat": "exited"}
"""The services at first: one of them did not run."""


@dataclass
class Shop(World):
    """The world, and the state of each service's container."""

    services: dict[str, str] = field(default_factory=lambda: dict(BEFORE))

    @property
    def look(self) -> Look:
        """The reading half, which sees containers too."""
        return cast(Look, ShopEyes(self))

    def _effect(self, operation: Operation, use: Use) -> Fields:
        found = super()._effect(operation, use)
        if isinstance(operation, Call) and operation.operation in ("start", "stop"):
            container = str(dict(operation.arguments.items)["container"])
            self.services[container.removeprefix("shop-")] = "running" if operation.operation == "start" else "exited"
        return found


class ShopEyes(Eyes):
    """What observers may read: things, and containers."""

    def __init__(self, world: Shop) -> None:
        super().__init__(world)
        self._shop = world

    def containers(self, host: Host, project: str) -> tuple[ContainerFacts, ...]:
        """One container a service."""
        self._shop.breathe("look containers")
        return tuple(
            ContainerFacts(name, f"shop-{name}", project, name, state, "", "", "", 0, ())
            for name, state in self._shop.services.items()
        )


class Recovered(Outputs):
    """What there is now, up to when, and where the old is."""

    made: str
    value: str
    recovery_point: str
    kept_as: str


class Recover(Replace):
    """A thing put in place of another, which is kept: what a restore is."""

    name = "recover"
    effect = Effect.DESTROYS
    outputs_type = Recovered

    def expect(self, system: Machine | None, inputs: ThingInputs, facts: ThingFacts) -> Any:
        """Nothing is known before."""
        return None

    def verify(self, look: Look, system: Machine | None, inputs: ThingInputs, done: Done[ThingFacts]) -> Any:
        """It is there."""
        made = super().verify(look, system, inputs, done)
        return Recovered(
            made=made.made,
            value=made.value,
            recovery_point="2026-02-14T11:00:00Z",
            kept_as=f"{inputs.thing}_before",
        )


SHOP: Mapping[str, Action[Any, Any, Any, Any]] = {
    **ACTS,
    "recover": Recover(),
    "compose.stop": CATALOGUE["compose.stop"],
    "compose.start": CATALOGUE["compose.start"],
}
