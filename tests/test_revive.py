"""Operations and their canonical form: there and back, and the digest that approvals rest on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runbook.host import LOCAL, Compose, Docker, Ssh
from runbook.operation import (
    Ask,
    Call,
    Condition,
    Connection,
    CopyRows,
    Document,
    Generate,
    Hashing,
    JsonText,
    MakeDirectory,
    Message,
    Name,
    Operation,
    Pipeline,
    Process,
    Question,
    Ref,
    Remove,
    Rename,
    SecretFile,
    Service,
    Session,
    SetPassword,
    Sql,
    Stage,
    Test,
    Transaction,
    Wait,
    Write,
    canonical,
    digest,
    kind,
    sql,
)
from runbook.revive import revive
from runbook.secret import FromCommand, FromEnv, FromEscrow, FromFile

DB = Connection(Docker("pg", Ssh("ops@db1")), "", 5432, "ops", 'a"b', FromEnv("PASSWORD"))
LOOK = Sql(name="look", connection=DB, statements=(sql("SELECT 1 AS one"),), reads=True)
EXAMPLES: tuple[Operation, ...] = (
    Process(
        name="run",
        argv=("pg_dump", Ref("snapshot", "id")),
        host=Compose("p", "s"),
        env=(("PGPASSFILE", SecretFile(("*:*:*:*:", FromFile("/run/secret")))), ("TOKEN", FromCommand(("pass", "x")))),
        ok_codes=(0, 1),
    ),
    Pipeline(
        name="pipe",
        source="/a",
        stages=(Stage(argv=("gzip",)), Stage(argv=("psql",), most_bytes=7)),
        sink="/b.partial",
        hashing=Hashing.SOURCE,
    ),
    Sql(
        name="swap",
        connection=DB,
        statements=(sql("ALTER DATABASE {a} RENAME TO {b}", a=Name("x"), b=Name("y")),),
        transaction=Transaction.AUTOCOMMIT,
        expect=(Condition("one", Test.AT_LEAST, 1),),
    ),
    Session(name="hold", connection=DB, begin=(sql("SELECT pg_export_snapshot() AS id"),), body=(LOOK,)),
    CopyRows(
        name="copy",
        source=DB,
        query=sql("SELECT id FROM t WHERE at < {at}", at="2026-02-14"),
        connection=DB,
        session="hold",
        table=Name("rb_1"),
        columns=(Name("id"), Name("n")),
        before=(sql("SET row_security = off"),),
    ),
    MakeDirectory(name="make", path="/a", mode=0o750, owner="999:999"),
    Write(
        name="write", path="/m", content=Document((("a", 1), ("b", JsonText(Ref("look", "rows"))), ("c", (1, None))))
    ),
    Rename(name="rename", source="/a", target="/b"),
    Remove(name="remove", path="/rb_x", marker="rb_x"),
    Generate(name="mint", escrow="role"),
    SetPassword(name="set", connection=DB, role="app", password=FromEscrow("role")),
    Call(
        name="stop", service=Service.DOCKER, operation="stop", arguments=Document((("container", "web"),)), host=LOCAL
    ),
    Wait(name="wait", read=LOOK, until=(Condition("one", Test.EQUALS, 1),), deadline_s=0),
    Message(name="tell", channel=FromEnv("URL"), title="t", body="b"),
    Ask(name="ask", instructions="look", questions=(Question("n", "integer"),), approvals=2, approvers=("kim",)),
)


@pytest.mark.parametrize("operation", EXAMPLES, ids=kind)
def test_an_operation_comes_back_from_the_journal(operation: Operation) -> None:
    back = revive(json.loads(json.dumps(canonical(operation))))
    assert back == operation
    assert digest(back) == digest(operation)


def test_a_bound_is_no_part_of_what_was_approved() -> None:
    stages = (Stage(argv=("zstd", "-d")), Stage(argv=("tar", "-x")))
    before = Pipeline(
        name="extract", source="/b/base.tar.zst", stages=stages, hashing=Hashing.SOURCE, expect_sha256="ab"
    )
    after = replace(before, stages=(stages[0], replace(stages[1], most_bytes=7)))
    assert digest(before) == "cc529c9ef193af310fc7160d759a284eb602550e05e9ca12424abefe5dd8aaa4", "as ever"
    assert digest(after) == digest(before)
    held = Session(name="held", connection=DB, begin=(), body=(before,))
    assert digest(replace(held, body=(after,))) == digest(held)
    assert "most_bytes" not in json.dumps(canonical(before))
    assert canonical(after) != canonical(before)


def test_there_is_an_example_of_every_operation() -> None:
    from typing import get_args

    assert {type(example) for example in EXAMPLES} == set(get_args(Operation))


def test_different_operations_have_different_digests() -> None:
    assert len({digest(example) for example in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("form", [{"is": "Teleport", "name": "x"}, {"is": "Rename", "nome": "x"}])
def test_a_form_of_another_version_is_refused(form: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an operation of this version"):
        revive(form)  # type: ignore[arg-type]
