"""A generated secret: the real action's plan for a new password, killed anywhere."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import pytest

from runbook.actions.postgres.rotate_password import RotatePassword, RotatePasswordFacts, RotatePasswordInputs
from runbook.operation import Generate, Operations, SetPassword
from runbook.secret import FromEnv
from tests.actions.backups import database, scope
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds, followed

OLD = 0
MOST = 4
INPUTS = RotatePasswordInputs(role="app", escrow="app.password")
APP = database(user="app", password=FromEnv("APP"), key="app")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the server accepts and what the escrow file holds, as numbers; ``minted`` so many until now."""

    accepted: int = OLD
    escrow: int | None = None
    minted: int = 0


class Rotating(Case[Secrets]):
    """A role of the environment, and a server that takes one password at a time."""

    start = Secrets()

    def observe(self, world: Secrets) -> RotatePasswordFacts:
        new = None if world.escrow is None else world.accepted == world.escrow
        return RotatePasswordFacts(new, world.accepted == OLD, FromEnv("APP"))

    def plan(self, facts: object) -> Operations:
        assert isinstance(facts, RotatePasswordFacts)
        return RotatePassword().plan(database(), INPUTS, facts, scope(APP))

    def perform(self, world: Secrets, operation: Op, results: Results) -> Worlds[Secrets]:
        match operation:
            case Generate():
                yield world if world.escrow is not None else self.mint(world), ()
            case SetPassword():
                if world.escrow is None:
                    raise Broke("there is no such secret")
                yield replace(world, accepted=world.escrow), ()
            case _:
                if world.accepted != world.escrow:
                    raise Broke("the login is refused")
                yield world, ()

    def mint(self, world: Secrets) -> Secrets:
        """One more secret."""
        assert world.minted < MOST
        return replace(world, escrow=world.minted + 1, minted=world.minted + 1)

    def outlives(self, operation: Op, world: Secrets) -> bool:
        return isinstance(operation, SetPassword)

    def wrong(self, world: Secrets) -> str:
        return "" if world.accepted in (OLD, world.escrow) else "nobody knows the password"

    def verify(self, world: Secrets) -> str:
        return "" if world.accepted == world.escrow else "the new one is not in force"


def test_at_no_moment_is_the_password_unknown() -> None:
    found = explore(Rotating())
    assert found.depth >= 2
    assert followed(Rotating()) == Secrets(1, 1, 1)


def test_a_kept_secret_makes_setting_it_harmless_to_repeat() -> None:
    explore(Rotating(), fenced=False)


def test_a_secret_that_is_minted_anew_locks_everybody_out() -> None:
    class Wasteful(Rotating):
        """Mints whenever it is asked to."""

        def perform(self, world: Secrets, operation: Op, results: Results) -> Worlds[Secrets]:
            if isinstance(operation, Generate):
                yield self.mint(world), ()
            else:
                yield from super().perform(world, operation, results)

        def end(self, world: Secrets) -> Hashable:
            return world.accepted == world.escrow

    with pytest.raises(Fault, match="nobody knows"):
        explore(Wasteful(), fenced=False)


def test_a_secret_that_is_kept_after_it_is_set_may_never_be() -> None:
    class Late(Rotating):
        """Sets the password first, and writes it down then."""

        def plan(self, facts: object) -> Operations:
            planned = super().plan(facts)
            return (*planned[1:2], *planned[:1], *planned[2:]) if planned else ()

        def perform(self, world: Secrets, operation: Op, results: Results) -> Worlds[Secrets]:
            if isinstance(operation, SetPassword):
                yield replace(world, accepted=world.minted + 1, minted=world.minted + 1), ()
            elif isinstance(operation, Generate):
                yield replace(world, escrow=world.accepted), ()
            else:
                yield from super().perform(world, operation, results)

    with pytest.raises(Fault, match="nobody knows"):
        explore(Late())
