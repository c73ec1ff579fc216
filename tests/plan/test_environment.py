"""Environments give the real things; they fit a plan or say what is missing."""

from __future__ import annotations

from runbook.host import LOCAL, Docker
from runbook.plan.environment import check_fits, inline_environment
from runbook.secret import FromEnv
from runbook.system import Postgres, Store
from tests.plan.given import ENVIRONMENT, RESTORE, codes, environment, plan, steps


def test_systems_are_typed_and_know_their_names() -> None:
    made = environment(ENVIRONMENT.replace("database: shop", "database: shop, host: {docker: pg}"))
    db = made.systems["db"]
    assert isinstance(db, Postgres)
    assert (db.key, db.host, db.password) == ("db", Docker("pg", LOCAL), FromEnv("DB_PASSWORD"))
    assert isinstance(made.systems["backups"], Store)
    assert (made.name, made.live, made.inputs) == ("lab", False, {"tables": ["users", "orders"]})
    assert made.facts() == {"name": "lab", "live": False}


def test_extends_inherits_systems_and_nothing_else() -> None:
    base = (
        "environment: production\nlive: true\ninputs: {a: 1}\nsystems:\n"
        "  db: {type: postgres, user: u, database: d}\n  app: {type: compose, project: p}\n"
    )
    made = environment(ENVIRONMENT + "extends: ./base.yaml\n", base=base)
    assert made.inherited == {"app"}
    assert sorted(made.systems) == ["app", "backups", "db"]
    assert (made.live, made.inputs) == (False, {"tables": ["users", "orders"]})
    db = made.systems["db"]
    assert isinstance(db, Postgres)
    assert db.user == "admin"
    assert [source.name for source in made.sources] == ["lab.yaml", "base.yaml"]
    assert made.digest != environment().digest


def test_an_environment_fits_or_says_what_is_missing() -> None:
    assert check_fits(plan(RESTORE), environment()) == []
    lacking = environment(
        "environment: lab\nsystems:\n  dbs: {type: postgres, user: u, database: d}\n  backups: {type: volume, name: v}\n"
    )
    found = check_fits(plan(RESTORE), lacking)
    assert [(problem.code, problem.summary, str(problem.where)) for problem in found] == [
        ("E171", "the environment has no system 'db'", "plan.yaml:9:15"),
        ("E172", "system 'backups' has the wrong type", "plan.yaml:9:34"),
    ]
    assert found[0].fix == "did you mean 'dbs'?"


def test_an_inline_environment_is_the_plans_own() -> None:
    text = steps(
        "- id: a\n  uses: x.y",
        head="environment:\n  inputs: {a: 1}\n  systems:\n    db: {type: postgres, user: u, database: d}\n",
    )
    made = inline_environment(plan(text))
    assert made is not None
    assert (made.name, sorted(made.systems), made.inputs) == ("tried", ["db"], {"a": 1})
    assert inline_environment(plan(RESTORE)) is None


def test_faults_of_an_inline_environment_are_the_plans() -> None:
    text = steps(
        "- id: a\n  uses: x.y", head="environment:\n  systems:\n    db: {type: postgres, usr: u}\n  extends: ./x.yaml\n"
    )
    assert codes(lambda: plan(text)) == ["E104", "E104", "E102", "E154"]
