"""A house for canaries: the sources that hold them, the servers that are shown them, the program, and the search afterwards."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.canary import plans
from tests.canary.canaries import Canary, channel, found, made, minted, several_lines
from tests.canary.servers import Servers, fingerprint
from tests.canary.watch import ENGINE, Watch
from tests.fixtures.postgres import PostgresServer

ENDS_WITHIN_S = 120.0
ODD = {
    "environment": "'\"%&ü ",
    "file": " $(x)\\`ß<>",
    "command": ":@/?#[]!*",
    "AWS secret": "{}|^~'' ;",
    "database password": "'\"\\:%@ öß&",
    "web header": "\"%&+/= ;ä'",
    "web authorization": " Basic ü:'\"\\",
    "S3 access key": "+=%'\"&_",
    "S3 secret key": "/+ü'\"%&",
    "Redis password": "\" '%&\\ñ",
    "ambient": "%&'\"é ",
}
"""By kind, what stands between a canary's words."""
_CORES_WANTED = 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"'
_PROBE = """\
import sys
from pathlib import Path
# so much after the secret that a message which shows the last 300 characters begins inside it
print(Path({file!r}).read_text().strip() + "y" * 290)
sys.exit(2)
"""
FILES = {
    "file": "file",
    "command": "command",
    "key": "key of several lines",
    "db": "database password",
    "header": "web header",
    "s3": "S3 secret key",
    "redis": "Redis password",
    "channel": "channel",
}
VARIABLES = {
    "CANARY_ENV": "environment",
    "CANARY_AUTH": "web authorization",
    "CANARY_S3": "S3 access key",
    "AWS_SECRET_ACCESS_KEY": "ambient",
    "PGPASSWORD": "ambient",
}
USED_BY_ALL = ("environment", "file", "command", "AWS secret", "key of several lines", "database password")
SHARED = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Ran:
    """How a command of the program ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err


@dataclass(frozen=True)
class Program:
    """The program while it runs, and where its output goes."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def end(self) -> Ran:
        """Wait for its end, and read what it printed."""
        code = self.process.wait(ENDS_WITHIN_S)
        return Ran(code, self.out.read_text(errors="replace"), self.err.read_text(errors="replace"))


@dataclass(frozen=True)
class Reader:
    """A child that waits; it goes on when it is let go."""

    fifo: Path
    descriptor: int

    def let_go(self) -> None:
        """Let it come to its end, and let no later one wait."""
        self.fifo.unlink()
        self.fifo.touch(mode=0o600)
        os.close(self.descriptor)


@dataclass(frozen=True)
class Evidence:
    """What a search went through, and what it found: kind, form and place of each secret; files that others may read."""

    searched: int
    leaks: frozenset[tuple[str, str, str]]
    open_to_others: tuple[str, ...]
    used: frozenset[str]


@dataclass
class House:
    """One end's: a folder in which the program works, and beside it what is not searched."""

    root: Path
    server: PostgresServer
    servers: Servers
    canaries: dict[str, Canary]
    role: str = field(default_factory=lambda: f"role_{secrets.token_hex(4)}")
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    leaks: set[tuple[str, str, str]] = field(default_factory=set)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(tuple(self.canaries.values()))

    @property
    def work(self) -> Path:
        """Where the program stands: plans, state, store."""
        return self.root / "work"

    @property
    def told(self) -> Path:
        """Where the child leaves its fingerprints."""
        return self.root / "told"

    @property
    def fifo(self) -> Path:
        """What a child waits for."""
        return self.root / "fifo"

    def plan(self, text: str) -> Path:
        """Write a plan for this house."""
        path = self.work / "plan.yaml"
        path.write_text(
            text.replace("SOURCES", str(self.root / "sources"))
            .replace("MINTED", f"{self.role}_app")
            .replace("DUMPED", f"{self.role}_data")
            .replace("PYTHON", sys.executable)
            .replace("PROBE", str(self.root / "probe.py"))
        )
        return path

    def open(self) -> None:
        """Put the canaries where they are read from, and the plans' environment where they are."""
        for name in ("work", "work/store", "tmp", "told", "sources"):
            (self.root / name).mkdir(mode=0o700)
        os.mkfifo(self.fifo, 0o600)
        for name, kind in FILES.items():
            path = self.root / "sources" / name
            path.write_text(self.canaries[kind].value + "\n")
            path.chmod(0o600)
        self.servers.memory.vault["canary"] = self.canaries["AWS secret"].value
        words = {
            "SOURCES": self.root / "sources",
            "STORE": self.work / "store",
            "PGPORT": self.server.port,
            "PGUSER": self.role,
            "PGDATABASE": self.role,
            "BINARIES": self.server.bin_dir,
            "WEBPORT": self.servers.web,
            "REDISPORT": self.servers.redis,
        }
        text = plans.ENVIRONMENT
        for name, value in words.items():
            text = text.replace(name, str(value))
        (self.work / "environment.yaml").write_text(text)
        (self.root / "probe.py").write_text(_PROBE.format(file=str(self.root / "sources" / "file")))
        furnish(self.server, self.role, self.canaries["database password"].value)

    def close(self) -> None:
        """Take the role and its databases away; whoever waits still, goes on."""
        with contextlib.suppress(OSError):
            Reader(self.fifo, os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)).let_go()
        for name in (self.role, f"{self.role}_data"):
            self.server.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self.server.sql(f'DROP ROLE IF EXISTS "{self.role}_app"')
        self.server.sql(f'DROP ROLE IF EXISTS "{self.role}"')
        self.servers.close()

    # --- the program ------------------------------------------------------------------------------------------------

    def environment(self, **more: str) -> dict[str, str]:
        """What the program gets: its secrets, and a mark that it is meant to have them."""
        url = f"http://127.0.0.1:{self.servers.web}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "tmp"),
            "TMPDIR": str(self.root / "tmp"),
            "NO_COLOR": "1",
            "AWS_ACCESS_KEY_ID": "not-a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": url,
            ENGINE: ",".join(VARIABLES.values()),
            **{name: self.canaries[kind].value for name, kind in VARIABLES.items()},
            **more,
        }

    def start(self, *words: str | Path, script: Path | None = None, **more: str) -> Program:
        """Start the program as a user does, with cores wanted; its output goes to files that are searched."""
        how = [str(script)] if script else ["-m", "runbook.cli"]
        number = next(self.numbers)
        streams = tuple(self.work / f"{name}.{number}" for name in ("out", "err"))
        with streams[0].open("wb") as out, streams[1].open("wb") as err:
            process = subprocess.Popen(
                ["sh", "-c", _CORES_WANTED, "sh", sys.executable, *how, *map(str, words)],
                cwd=self.work,
                env=self.environment(RUNBOOK_STATE=str(self.work / "state"), **more),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return Program(process, *streams)

    def run(self, *words: str | Path, script: Path | None = None, **more: str) -> Ran:
        """Run the program to its end."""
        return self.start(*words, script=script, **more).end()

    def reader(self, program: Program) -> Reader:
        """Wait until the child has printed all that it prints, and waits for us."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while True:
            try:
                return Reader(self.fifo, os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            assert program.process.poll() is None, program.end().said
            assert time.monotonic() < deadline, "the child never came to its waiting"
            time.sleep(0.02)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that comes."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came"
            time.sleep(0.02)

    def supervisor(self) -> int:
        """The process id of the newest run's supervisor."""
        lines = (self.runs[-1] / "supervisor.jsonl").read_text().splitlines()
        opened = [json.loads(line[line.index("{") :]) for line in lines if '"opened"' in line]
        return int(opened[-1]["pid"])

    def apply(self, text: str, *words: str, script: Path | None = None, **more: str) -> Ran:
        """Run a plan to its end."""
        return self.run("apply", *self.order(text, *words), script=script, **more)

    def order(self, text: str, *words: str) -> list[str | Path]:
        """The words of a command that takes a plan."""
        return [self.plan(text), "--env", self.work / "environment.yaml", *words]

    # --- what is left -----------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[Path]:
        """The directories of the runs, oldest first."""
        return sorted((self.work / "state" / "runs").glob("*"), key=lambda path: path.stat().st_ctime_ns)

    def events(self) -> list[dict[str, object]]:
        """The whole records of the newest run."""
        lines = (self.runs[-1] / "journal.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def know_minted(self) -> None:
        """From now on what the program minted is looked for as well."""
        for path in (self.work / "state").rglob("escrow/*"):
            self.canaries[f"minted {path}"] = minted(path.read_text())

    def search(self) -> Evidence:
        """Go through every file that the program left, and what the watch saw; what was found once stays found."""
        self.know_minted()
        open_to_others, searched = [], 0
        leaks = self.leaks | self.watch.leaks
        for path in files((self.work, self.root / "tmp")):
            mine = [one for one in self.canaries.values() if one.kind != "minted" or path.parent.name != "escrow"]
            searched += 1
            content = b""
            with contextlib.suppress(FileNotFoundError):  # of somebody who is just leaving
                content = path.read_bytes()
            leaks |= {(kind, form, str(path.relative_to(self.root))) for kind, form in found(content, mine)}
            leaks |= {(kind, form, "a file's name") for kind, form in found(str(path).encode(), mine)}
        self.leaks |= leaks
        state = self.work / "state"
        for path in state.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # the socket of a supervisor that is just leaving
                if not path.is_symlink() and path.stat().st_mode & SHARED:
                    open_to_others.append(str(path.relative_to(self.root)))
        return Evidence(searched, frozenset(leaks), tuple(open_to_others), frozenset(self.used()))

    def used(self) -> Iterable[str]:
        """The kinds of which somebody who was meant to have the secret says that it came."""
        for name, (kind, _) in plans.IN_CHILD.items():
            path = self.told / name
            if path.exists() and path.read_text() == fingerprint(self.canaries[kind].value):
                yield kind
        if any(path.read_bytes() for path in self.work.glob("state/runs/*/logs/early.*")):
            yield "S3 secret key"
        for kind in ("web header", "web authorization", "channel", "S3 access key", "Redis password"):
            if all(map(self.servers.memory.heard, self.canaries[kind].words)):
                yield kind
        if asked(self.server, self.role).exists():
            yield "database password"
        if any(kind.startswith("minted") for kind in self.canaries):
            yield "minted"


def files(places: Iterable[Path]) -> Iterable[Path]:
    """Every plain file below these, links not followed."""
    for place in places:
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path


def fresh(port: int) -> dict[str, Canary]:
    """A canary for each kind of source."""
    some = {kind: made(kind, between) for kind, between in ODD.items()}
    return {**some, "channel": channel(port), "key of several lines": several_lines()}


def furnish(server: PostgresServer, role: str, password: str) -> None:
    """A superuser with that password, a role to rotate, and a database whose functions know the password and tell it."""
    known = _literal(password)
    server.sql(f'CREATE ROLE "{role}" SUPERUSER LOGIN PASSWORD {known}')
    server.sql(f'CREATE ROLE "{role}_app" LOGIN')
    for name in (role, f"{role}_data"):
        server.sql(f'CREATE DATABASE "{name}" OWNER "{role}"')
    server.sql("CREATE TABLE things (n int)", f"{role}_data")
    note = f"EXECUTE 'COPY (SELECT 1) TO ' || quote_literal({_literal(str(asked(server, role)))});"
    raised = (
        "RAISE EXCEPTION 'the password is %', know USING DETAIL = format('%L %s', know, "
        "encode(convert_to('you:' || know, 'UTF8'), 'base64')), "
        "HINT = encode(convert_to(know, 'UTF8'), 'hex') || to_json(know)::text;"
    )
    bodies = {"told": "RETURN know || to_json(know)::text;", "refuse": raised, "linger": "PERFORM pg_sleep(60);"}
    for name, body in bodies.items():
        server.sql(
            f"CREATE FUNCTION {name}() RETURNS text LANGUAGE plpgsql AS $f$ "
            f"DECLARE know text := {known}; BEGIN {note} {body} END $f$",
            role,
        )


def asked(server: PostgresServer, role: str) -> Path:
    """The file that the server writes when one of the functions was called: whoever called had the password."""
    return server.data_dir / f"{role}.asked"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
