"""A pair of logins: what was seen of the two → operations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.action import Undecidable
from runbook.actions.postgres.create_login import CreateLogin, CreateLoginFacts, CreateLoginInputs, One
from runbook.actions.postgres.disable_login import DisableLogin, DisableLoginFacts, DisableLoginInputs
from runbook.actions.postgres.prove_login import ProveLogin, ProveLoginInputs
from runbook.operation import Generate, Operations, SetPassword, Sql, Wait, changes
from runbook.paste import paste
from runbook.secret import FromEscrow
from tests.actions.backups import database, scope

CREATE = CreateLogin()
INPUTS = CreateLoginInputs(pair=("app_a", "app_b"), owner="app_owner", escrow="app.password")
USED = One("app_a", exists=True, can_login=True, ready=True, works=None)
WHOLE = ["mint", "create", "grant", "set", "enable", "accepted"]


def planned(**seen: bool | None) -> Operations:
    one = replace(One("app_b", exists=True, can_login=False, ready=False, works=None), **seen)  # type: ignore[arg-type]
    facts = CreateLoginFacts("app_b", "app_a", (USED, one), "/run/escrow/app.password")
    return CREATE.plan(database(), INPUTS, facts, scope())


@pytest.mark.parametrize(
    ("seen", "remaining"),
    [
        ({"exists": False}, WHOLE),
        ({}, ["mint", "grant", "set", "enable", "accepted"]),
        ({"ready": True}, ["mint", "grant", "set", "enable", "accepted"]),
        ({"can_login": True, "ready": True, "works": True}, []),
        ({"can_login": True, "ready": False, "works": True}, ["grant"]),
    ],
)
def test_what_remains(seen: dict[str, bool], remaining: list[str]) -> None:
    assert [one.name for one in planned(**seen)] == remaining


@pytest.mark.parametrize("works", [None, False])
def test_a_login_that_another_gave_is_for_a_person(works: bool | None) -> None:
    with pytest.raises(Undecidable):
        planned(can_login=True, works=works)


def test_the_role_may_log_in_only_once_it_has_its_password() -> None:
    mint, create, grant, change, enable, proof = planned(exists=False)
    assert mint == Generate(name="mint", escrow="app.password")
    assert 'CREATE ROLE "app_b" NOLOGIN' in paste(create)
    assert 'GRANT "app_owner" TO "app_b"' in paste(grant)
    assert isinstance(change, SetPassword) and change.password == FromEscrow("app.password")
    assert 'ALTER ROLE "app_b" LOGIN' in paste(enable)
    assert isinstance(proof, Wait) and isinstance(proof.read, Sql)
    assert (proof.read.connection.user, proof.read.connection.password) == ("app_b", FromEscrow("app.password"))


def test_a_dry_run_without_looking_shows_everything() -> None:
    facts = CREATE.assume(database(), INPUTS, scope())
    assert [one.name for one in CREATE.plan(database(), INPUTS, facts, scope())] == WHOLE
    out = CREATE.expect(database(), INPUTS, facts)
    assert (out.role, out.former, out.file) == ("app_b", "app_a", "/run/escrow/app.password")


@pytest.mark.parametrize("pair", [("a", "a"), ("a", ""), ("a",), ("a", "b", "c")])
def test_a_pair_is_two(pair: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        CreateLoginInputs.model_validate({"pair": pair, "owner": "o", "escrow": "e"})


def test_a_proof_only_reads_and_does_not_count_itself() -> None:
    inputs = ProveLoginInputs(role="app_b", escrow="app.password", former="app_a", sessions=3)
    operations = ProveLogin().plan(database(), inputs, ProveLogin().assume(database(), inputs, scope()), scope())
    assert [one.name for one in operations] == ["accepted", "seen", "former"]
    assert not any(map(changes, operations))
    assert "NOT LIKE 'runbook%'" in paste(operations[1]).replace("'\\''", "'").replace("'\"'\"'", "'")


@pytest.mark.parametrize(
    ("facts", "remaining"),
    [
        (DisableLoginFacts(can_login=True, sessions=4), ["disable", "drained"]),
        (DisableLoginFacts(can_login=False, sessions=1), ["disable", "drained"]),
        (DisableLoginFacts(can_login=False, sessions=0), []),
    ],
)
def test_closing_ends_what_is_open(facts: DisableLoginFacts, remaining: list[str]) -> None:
    inputs = DisableLoginInputs(role="app_a", successor="app_b")
    assert [one.name for one in DisableLogin().plan(database(), inputs, facts, scope())] == remaining
