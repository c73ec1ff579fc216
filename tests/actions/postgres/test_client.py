"""How client programs are called: no name can become an option, and no secret is in an argv."""

from __future__ import annotations

import psycopg.conninfo
import pytest

from runbook.actions.postgres.client import argv, conninfo, env, target
from runbook.host import Docker
from runbook.operation import SecretFile
from runbook.secret import FromEnv
from tests.actions.backups import database


@pytest.mark.parametrize("name", ["civicq", "-rf", "it's", "a b", "back\\slash", "Zürich", "x' host=evil", "k=v", '"'])
def test_every_name_of_a_database_arrives_as_it_is(name: str) -> None:
    option = target(database(user=name), name)
    assert option.startswith("--dbname=")
    read = psycopg.conninfo.conninfo_to_dict(option.removeprefix("--dbname="))
    assert read == {"port": "5432", "user": name, "dbname": name}


def test_the_systems_own_database_is_the_default() -> None:
    assert conninfo(database(address="db1", port=5433)) == "host=db1 port=5433 user=civicq dbname=civicq"


def test_a_program_in_a_container_uses_the_socket_inside_it() -> None:
    inside = Docker("pg")
    assert conninfo(database(host=inside, address="127.0.0.1", port=15432)) == "user=civicq dbname=civicq"
    assert conninfo(database(host=inside, port=5433)) == "port=5433 user=civicq dbname=civicq"


def test_programs_come_from_the_directory_of_binaries() -> None:
    assert argv(database(), "pg_dump", "--x") == ("pg_dump", "--x")
    assert argv(database(binaries="/opt/pg/bin/"), "pg_dump") == ("/opt/pg/bin/pg_dump",)


def test_the_password_travels_in_a_file() -> None:
    secret = FromEnv("PGPW")
    given = dict(env(database(password=secret), "runbook/run/step"))
    assert given["PGAPPNAME"] == "runbook/run/step"
    assert given["PGSERVICEFILE"] == SecretFile(("[runbook]\npassword=", secret, "\n"))
    assert "PGSERVICE" not in dict(env(database(), "runbook/run/step"))
