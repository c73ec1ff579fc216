"""Looking: the reads that an observer may do, on real systems.

Owns :class:`LiveLook`, which is :class:`runbook.action.Look`. Promises: nothing that it does changes anything, programs are on an
allowlist, SQL runs in a read-only transaction; every call is bounded in time and size; what could not be asked raises
:class:`~runbook.action.Unreachable`, which is never the same as "no".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from runbook.action import Answer, CheckFailed, ContainerFacts, FileFacts, Ran, Unreachable
from runbook.errors import Bug, Problem
from runbook.host import Compose, Docker, Host, Local
from runbook.operation import Connection, Scalar, Statement
from runbook.quoting import sql_text
from runbook.secret import SecretRef
from runbook.system import Store
from runbook.transports import look_files, objects
from runbook.transports.bound import Bound
from runbook.transports.commands import Commands
from runbook.transports.database import REFUSED_FIX, Databases, Link, Watch, is_lost, lost_problem, server_words
from runbook.transports.docker import DockerEngine
from runbook.transports.http import Request, Response, send
from runbook.transports.readonly import only_reads
from runbook.transports.rows import Row
from runbook.transports.secrets import SecretStore
from runbook.transports.trouble import Trouble, unreachable

ANSWER_WITHIN_S = 30.0
MOST_BYTES = 64 * 1024
MOST_ROWS = 10_000
_CANCELLED = "57014"
LONGEST_ASKED = 200
"""Characters of a refused statement that are shown."""
_CONNECTION_CLASSES = ("08", "53", "57", "58", "XX")
"""SQLSTATE classes that say something of the server's state, not of the question."""


class LiveLook:
    """Reads of the world. ``monotonic`` is the engine's clock; ``within_s`` bounds each read, else the observers' budget does."""

    def __init__(
        self,
        *,
        secrets: SecretStore,
        engine: DockerEngine,
        databases: Databases,
        commands: Commands,
        monotonic: Callable[[], float] = time.monotonic,
        within_s: float | None = None,
    ) -> None:
        self._within_s = within_s
        self._secrets = secrets
        self._engine = engine
        self._databases = databases
        self._commands = commands
        self._monotonic = monotonic

    def query(self, connection: Connection, statement: Statement) -> Sequence[Mapping[str, Scalar]]:
        """Rows of one SQL statement, run in a read-only transaction; at most 10,000 and 64 KiB.

        A statement that the server refuses raises :class:`CheckFailed`.
        """
        import psycopg

        bound, text = self._bound(), sql_text(statement)
        with _asking(), contextlib.closing(self._databases.connect(connection, bound)) as link:
            try:
                with Watch(link, bound):
                    link.execute("BEGIN READ ONLY")
                    return _bounded_rows(link, text)
            except psycopg.Error as error:
                words = server_words(error, self._databases.redact)
                state = error.sqlstate or ""
                if state == _CANCELLED:
                    fix = "what keeps the server busy? SELECT pid, state, query FROM pg_stat_activity; then try again"
                    raise unreachable("E327", "the time was over", words, fix) from None
                if is_lost(link) or state.startswith(_CONNECTION_CLASSES):
                    raise Unreachable(lost_problem(words)) from None
                asked = self._databases.redact(" ".join(text.split()))[:LONGEST_ASKED]
                detail = f"{words}\nIt was asked: {asked}"
                raise CheckFailed(Problem("E310", "the database refused a statement", detail, REFUSED_FIX)) from None

    def login(self, connection: Connection, password: SecretRef | None) -> bool:
        """Whether the server accepts this password for ``connection.user``; False only if it said no.

        A server that lets the role in without a password can't tell, and raises :class:`Unreachable`.
        """
        with _asking():
            value = None if password is None else self._secrets.reveal(password).reveal()
            accepted = self._databases.login(connection, self._bound(), password=value)
        if accepted is None:
            detail = f"It let {connection.user} in without one (pg_hba.conf says trust, peer or the like)."
            raise unreachable(
                "E326",
                "the server did not ask for a password",
                detail,
                "Write `address` so that TCP is used, with scram-sha-256.",
            )
        return accepted

    def file(self, host: Host, path: str) -> FileFacts | None:
        """The file, or None where it isn't; links are not followed. Of a stopped container: without owner, device, inode."""
        try:
            return look_files.facts(self._commands, host, path, self._bound())
        except Unreachable:
            if not isinstance(host, Docker | Compose):
                raise
            with _asking():
                container = self._engine.facts(host)
                if container is None or container.state == "running":
                    raise
                return self._engine.stopped_file(host, path)

    def listing(self, host: Host, directory: str) -> tuple[FileFacts, ...]:
        """The directory's entries (one level), by name; empty where the directory isn't."""
        return look_files.listing(self._commands, host, directory, self._bound())

    def text(self, host: Host, path: str, *, most_bytes: int = look_files.LONGEST_TEXT) -> str | None:
        """A small text file whole, or None where it isn't. More than 64 KiB (at most 1 MiB) only of a file on this machine."""
        return look_files.text(self._commands, host, path, self._bound(), most_bytes=most_bytes)

    def objects(self, store: Store) -> tuple[FileFacts, ...]:
        """The objects right below the store's prefix; their ``path`` is their name."""
        with _asking():
            return objects.listing(self._secrets, store, self._bound())

    def object_text(self, store: Store, name: str) -> str | None:
        """A small object whole (64 KiB), or None where it isn't."""
        with _asking():
            return objects.text(self._secrets, store, name)

    def head(self, host: Host, path: str, count: int) -> bytes:
        """The first ``count`` bytes (at most 4096) of a file, fewer where it is shorter; empty where it isn't."""
        return look_files.head(self._commands, host, path, count, self._bound())

    def free_bytes(self, host: Host, path: str) -> int:
        """Space that an ordinary user may still fill on the file system of ``path`` (its nearest existing parent)."""
        return look_files.free_bytes(self._commands, host, path, self._bound())

    def run(self, host: Host, argv: tuple[str, ...]) -> Ran:
        """A program of the read-only list; another is a bug of the action that asks."""
        if not only_reads(argv):
            raise Bug(f"An observer may not run {argv!r}: it is not on the list of programs that only read.")
        return self._commands.run(host, argv, self._bound())

    def probe(self, host: Host, argv: tuple[str, ...]) -> Ran:
        """The user's own program that tells whether a step is done; trusted and shown. What it prints is masked."""
        ran, redact = self._commands.run(host, argv, self._bound()), self._secrets.redactor
        return Ran(ran.exit_code, redact(ran.stdout), redact(ran.stderr))

    def containers(self, host: Host, project: str) -> tuple[ContainerFacts, ...]:
        """The containers of a Compose project, stopped ones too, by service and number."""
        if not isinstance(host, Local):
            raise unreachable(
                "E390",
                "not built yet",
                f"Docker over {host} is not built yet.",
                "use the Docker Engine of this machine",
            )
        return self._engine.project(project)

    def container(self, host: Host) -> ContainerFacts | None:
        """The container that a Docker or Compose host names, or None."""
        if not isinstance(host, Docker | Compose):
            return None
        with _asking():
            return self._engine.facts(host)

    def http(self, url: str, headers: Mapping[str, str | SecretRef], timeout_s: float) -> Answer:
        """A GET; redirects are not followed. No answer is status 0 with the reason as its body."""
        with _asking():
            plain = {
                name: value if isinstance(value, str) else self._secrets.reveal(value).reveal()
                for name, value in headers.items()
            }
            bound = self._bound().within(timeout_s)
            answer = send(Request("GET", url, plain), bound, redactor=self._secrets.redactor)
        if isinstance(answer, Response):
            return Answer(answer.status, answer.body, answer.elapsed_s)
        return Answer(0, answer.why, answer.elapsed_s)

    def _bound(self) -> Bound:
        return Bound(self._monotonic, self._monotonic() + (self._within_s or ANSWER_WITHIN_S))


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """What a transport calls a failure is, for an observer, a system that could not be asked."""
    try:
        yield
    except Trouble as error:
        raise Unreachable(error.problem) from None


def _bounded_rows(link: Link, text: str) -> Sequence[Row]:
    rows: list[Row] = []
    size = 0
    with link.cursor() as cursor:
        for row in cursor.stream(text):
            rows.append(dict(zip([column.name for column in cursor.description or ()], row, strict=True)))
            size += sum(len(str(value)) for value in row)
            if len(rows) > MOST_ROWS or size > MOST_BYTES:
                detail = f"An observer takes at most {MOST_ROWS} rows and {MOST_BYTES} bytes."
                raise CheckFailed(
                    Problem("E313", "the result is too large", detail, "Ask for less: an aggregate or a LIMIT.")
                )
    return rows
