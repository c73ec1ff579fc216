"""A new password: what logging in showed → operations."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runbook.action import Undecidable
from runbook.actions.postgres.rotate_password import RotatePassword, RotatePasswordFacts, RotatePasswordInputs
from runbook.operation import Generate, SetPassword, Sql, Wait
from runbook.secret import FromEnv, FromEscrow
from tests.actions.backups import database, scope

ROTATE = RotatePassword()
INPUTS = RotatePasswordInputs(role="app", escrow="app.password")
ALL = ["mint", "set", "accepted"]


@pytest.mark.parametrize(
    ("new_works", "old_works", "remaining"),
    [
        (None, True, ALL),
        (None, None, ALL),
        (None, False, ALL),
        (False, True, ALL),
        (False, None, ALL),
        (True, False, []),
        (True, None, []),
    ],
)
def test_what_remains(new_works: bool | None, old_works: bool | None, remaining: list[str]) -> None:
    operations = ROTATE.plan(database(), INPUTS, RotatePasswordFacts(new_works, old_works, None), scope())
    assert [one.name for one in operations] == remaining


@pytest.mark.parametrize("both", [True, False])
def test_a_person_decides_where_logging_in_tells_nothing(both: bool) -> None:
    with pytest.raises(Undecidable):
        ROTATE.plan(database(), INPUTS, RotatePasswordFacts(both, both, None), scope())


def test_it_is_minted_before_it_is_set_and_proven_after() -> None:
    mint, change, proof = ROTATE.plan(database(), INPUTS, RotatePasswordFacts(None, None, None), scope())
    assert mint == Generate(name="mint", escrow="app.password")
    assert isinstance(change, SetPassword)
    assert (change.role, change.password, change.connection.user) == ("app", FromEscrow("app.password"), "civicq")
    assert isinstance(proof, Wait) and isinstance(proof.read, Sql)
    assert (proof.read.connection.user, proof.read.connection.password) == ("app", FromEscrow("app.password"))


def test_the_old_password_is_that_of_the_environment() -> None:
    app = database(user="app", password=FromEnv("APP"), key="app")
    elsewhere = database(user="app", password=FromEnv("OTHER"), key="aaa", port=5433)
    assert ROTATE.assume(database(), INPUTS, scope(elsewhere, app)).old == FromEnv("APP")
    assert ROTATE.assume(database(), INPUTS, scope(elsewhere)).old is None


@pytest.mark.parametrize("escrow", ["../x", "/etc/x", ".x", "", "a/b"])
def test_an_escrow_is_a_plain_file_name(escrow: str) -> None:
    with pytest.raises(ValidationError):
        RotatePasswordInputs(role="app", escrow=escrow)
