"""Every operation as a line, and what no line may hold."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook.host import LOCAL, Compose, Docker, Ssh
from runbook.operation import (
    UNBOUNDED,
    Ask,
    Call,
    Condition,
    Connection,
    CopyRows,
    Document,
    Generate,
    MakeDirectory,
    Message,
    Name,
    Operation,
    Pipeline,
    Process,
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
    Wait,
    Write,
    sql,
)
from runbook.paste import paste
from runbook.secret import FromAws, FromCommand, FromEnv, FromEscrow, FromFile

PG = Docker("pg")
DB = Connection(LOCAL, "/run/pg", 5432, "app", "shop", FromEnv("POSTGRES_PASSWORD"))
IN_CONTAINER = Connection(PG, "", 5432, "app", "my shop", None)
COUNT = Sql(
    name="count", connection=DB, statements=(sql("SELECT count(*) AS n FROM {t}", t=Name("users")),), reads=True
)

CASES: list[tuple[Operation, str]] = [
    (
        Process(name="p", argv=("pg_dump", "--file", "a b", Ref("o", "f")), user="postgres", cwd="/srv"),
        "(cd /srv && runuser -u postgres -- pg_dump --file 'a b' <o.f>)",
    ),
    (
        Process(
            name="p",
            argv=("psql",),
            host=PG,
            user="postgres",
            stdin="x",
            env=(("PGPASSWORD", FromEnv("P")), ("A", "b c")),
        ),
        """printf %s x | PGPASSWORD="$P" A='b c' docker exec -i -u postgres -e PGPASSWORD -e A pg psql""",
    ),
    (
        Process(name="p", argv=("ls",), host=Compose("shop", "db")),
        "docker compose -p shop exec -T db ls",
    ),
    (
        Process(name="p", argv=("ls", "a b"), host=Docker("pg", via=Ssh("ops@db1"))),
        """ssh ops@db1 'docker exec pg ls '"'"'a b'"'"''""",
    ),
    (
        Process(
            name="p",
            argv=("x",),
            env=(
                (
                    "S",
                    SecretFile(("p=", FromFile("/s"))),
                ),
                ("F", FromFile("/k y")),
            ),
        ),
        """S='<a 0600 file with: p=<the content of /s>>' F="$(cat -- '/k y')" x""",
    ),
    (
        Pipeline(
            name="p",
            stages=(Stage(argv=("pg_dump",), host=PG), Stage(argv=("zstd", "-c"))),
            sink="/b/x.partial",
        ),
        "docker exec pg pg_dump | zstd -c > /b/x.partial && sync /b/x.partial",
    ),
    (
        Pipeline(
            name="p", source="/b/x", stages=(Stage(argv=("zstd", "-dc")), Stage(argv=("tar",), host=PG, most_bytes=7))
        ),
        "< /b/x zstd -dc | docker exec -i pg tar  # tar is given 7 bytes at most",
    ),
    (
        Pipeline(name="p", stages=(Stage(argv=("pg_dump",)), Stage(argv=("gzip",), most_bytes=UNBOUNDED))),
        "pg_dump | gzip",
    ),
    (
        Pipeline(name="p", source="/b/x", stages=(Stage(argv=("pg_restore",), host=PG),), expect_sha256="ab"),
        "< /b/x docker exec -i pg pg_restore  # sha256 must be ab",
    ),
    (Pipeline(name="p", source="-b", reads=True), "sha256sum ./-b"),
    (
        COUNT,
        """PGPASSWORD="$POSTGRES_PASSWORD" psql 'host=/run/pg port=5432 user=app dbname=shop' -v ON_ERROR_STOP=1 """
        """-c 'SELECT count(*) AS n FROM "users"'""",
    ),
    (
        Sql(name="s", connection=IN_CONTAINER, statements=(sql("DROP TABLE {t}", t=Name('a"; DROP')),)),
        """docker exec pg psql 'port=5432 user=app dbname='"'"'my shop'"'"'' -v ON_ERROR_STOP=1 """
        """-c BEGIN -c 'DROP TABLE "a""; DROP"' -c COMMIT""",
    ),
    (
        Session(
            name="snap",
            connection=IN_CONTAINER,
            begin=(sql("BEGIN"), sql("SELECT pg_export_snapshot() AS id")),
            body=(Process(name="d", argv=("pg_dump", "--snapshot", Ref("snap", "id"))),),
            end=(sql("COMMIT"),),
        ),
        """docker exec pg psql 'port=5432 user=app dbname='"'"'my shop'"'"'' -v ON_ERROR_STOP=1"""
        "  # session snap, held open: BEGIN; SELECT pg_export_snapshot() AS id\n"
        "  pg_dump --snapshot <snap.id>\n"
        "# end of session snap: COMMIT",
    ),
    (
        CopyRows(
            name="c",
            source=DB,
            query=sql("SELECT id FROM t WHERE n = {n}", n="it's"),
            connection=IN_CONTAINER,
            session="merge",
            table=Name("rb_1"),
            columns=(Name("id"),),
            before=(sql("BEGIN READ ONLY"),),
        ),
        """PGPASSWORD="$POSTGRES_PASSWORD" psql -q 'host=/run/pg port=5432 user=app dbname=shop' -v ON_ERROR_STOP=1 """
        """-c 'BEGIN READ ONLY' -c 'COPY (SELECT id FROM t WHERE n = '"'"'it'"'"''"'"'s'"'"') TO STDOUT' | """
        """docker exec -i pg psql 'port=5432 user=app dbname='"'"'my shop'"'"'' -v ON_ERROR_STOP=1 """
        """-c 'COPY "rb_1" ("id") FROM STDIN'  # the latter in session merge""",
    ),
    (MakeDirectory(name="m", path="/a b", owner="1:2"), "mkdir -p -m 0700 -- '/a b' && chown 1:2 -- '/a b'"),
    (
        Write(name="w", path="/a", content=Document((("n", Ref("o", "n")), ("k", FromEscrow("new")))), mode=0o640),
        """# write /a (mode 0640): {"n": "<o.n>", "k": "<the escrowed secret new>"}""",
    ),
    (Rename(name="r", source="/a", target="/b", host=PG), "docker exec pg mv -nT -- /a /b"),
    (Remove(name="r", path="/x/rb_1", marker="rb_1"), "rm -rf --one-file-system -- /x/rb_1"),
    (Generate(name="g", escrow="new"), "# mint a secret of 32 characters into escrow/new (kept if it is there)"),
    (
        SetPassword(name="s", connection=DB, role="app", password=FromEscrow("new")),
        """PGPASSWORD="$POSTGRES_PASSWORD" psql 'host=/run/pg port=5432 user=app dbname=shop' -v ON_ERROR_STOP=1 """
        """-c '\\password app'  # type: the escrowed secret new; the server gets a SCRAM verifier""",
    ),
    (
        Call(
            name="c",
            service=Service.DOCKER,
            operation="stop",
            arguments=Document((("container", "web"), ("timeout_s", 5))),
        ),
        "docker stop -t 5 web",
    ),
    (
        Call(
            name="c",
            service=Service.DOCKER,
            operation="run",
            arguments=Document(
                (("argv", ("sh", "-c", "ls $1", "sh", "/a b")), ("labels", Document((("runbook.run", "r-1"),))))
            ),
            host=Compose("shop", "db"),
        ),
        "docker run --rm --network none --no-healthcheck --user 0:0 --label runbook.run=r-1 --volumes-from $(docker ps -aq "
        "--filter label=com.docker.compose.project=shop --filter label=com.docker.compose.service=db) --entrypoint sh "
        """"$(docker inspect -f '{{.Image}}' $(docker ps -aq --filter label=com.docker.compose.project=shop """
        """--filter label=com.docker.compose.service=db))" -c 'ls $1' sh '/a b'""",
    ),
    (
        Call(
            name="c",
            service=Service.DOCKER,
            operation="run",
            arguments=Document(
                (
                    ("argv", ("pg_rewind", "-P")),
                    ("labels", Document((("runbook.run", "r-1"),))),
                    ("network", "own"),
                    ("user_of", "/data/PG_VERSION"),
                    ("secrets", Document((("PGPASSWORD", FromEnv("POSTGRES_PASSWORD")),))),
                )
            ),
            host=Docker("db"),
        ),
        """PGPASSWORD="$POSTGRES_PASSWORD" docker run --rm --network "$(docker inspect -f '{{.HostConfig.NetworkMode}}' db)" """
        """--no-healthcheck --user "$(docker run --rm --volumes-from db --entrypoint stat "$(docker inspect -f '{{.Image}}' db)" """
        """-c %u:%g /data/PG_VERSION)" -e PGPASSWORD --label runbook.run=r-1 --volumes-from db --entrypoint pg_rewind """
        """"$(docker inspect -f '{{.Image}}' db)" -P""",
    ),
    (
        Call(
            name="c",
            service=Service.HTTP,
            operation="POST",
            arguments=Document(
                (("url", "https://h/x"), ("headers", Document((("A", "b"), ("T", FromEnv("TOKEN"))))), ("body", "it's"))
            ),
            expect=(Condition("status", Test.EQUALS, 200),),
        ),
        """curl -sS -X POST -H 'A: b' -H 'T: '"$TOKEN" --data-raw 'it'"'"'s' -- https://h/x  # expected: status is 200""",
    ),
    (
        Wait(name="w", read=COUNT, until=(Condition("n", Test.AT_LEAST, 1),), deadline_s=0),
        paste(COUNT) + "  # must hold now: n is at least 1",
    ),
    (
        Wait(name="w", read=COUNT, until=(Condition("n", Test.AT_LEAST, 1),)),
        paste(COUNT) + "  # repeat every 0.5s, for at most 1m 00s, until n is at least 1",
    ),
    (Message(name="m", channel=FromEnv("CHAN"), title="T", body="b c"), """apprise -t T -b 'b c' "$CHAN\""""),
    (
        Message(name="m", channel="slack://key", title="T", body="b"),
        "apprise -t T -b b '<the channel in the environment>'",
    ),
    (Ask(name="a", instructions="Look\nout"), "# ask: Look\\nout"),
]


@pytest.mark.parametrize(
    ("operation", "line"), CASES, ids=[f"{n}-{c[0].__class__.__name__}" for n, c in enumerate(CASES)]
)
def test_each_operation_as_a_line(operation: Operation, line: str) -> None:
    assert paste(operation) == line


@pytest.mark.parametrize(
    "argument", ["; touch CANARY", "$(touch CANARY)", "`touch CANARY`", "a\nb", "-rf", "'", "\x1b[2J", "\u202egnp"]
)
def test_a_hostile_argument_stays_one_word_for_the_shell(argument: str, tmp_path: object) -> None:
    line = paste(Process(name="p", argv=("printf", "%s", argument)))
    ran = subprocess.run(["bash", "-c", line], capture_output=True, cwd=str(tmp_path), env={"LC_ALL": "C.UTF-8"})
    assert ran.stdout.decode() == argument
    assert not list(__import__("pathlib").Path(str(tmp_path)).iterdir())
    assert "\x1b" not in line
    assert "\u202e" not in line


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1, max_size=4))
def test_printable_argv_survives_the_shell_parser(argv: list[str]) -> None:
    assert shlex.split(paste(Process(name="p", argv=tuple(argv)))) == argv


def test_secrets_are_places_never_values() -> None:
    references = (FromEnv("A"), FromFile("/f"), FromCommand(("pass", "show x")), FromAws("n"), FromEscrow("e"))
    for reference in references:
        line = paste(Process(name="p", argv=("x",), env=(("V", reference),)))
        assert line.startswith('V="$'), line
