"""Short commands on a host, run and awaited here: reads of an observer, and the small file work inside containers.

Owns :class:`Commands`. Long work, and work whose loss matters, goes through the supervisor instead. Promises: an argv is a list
and meets no shell; output and time are bounded; a program that isn't there gives exit code 127, as in a shell.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runbook.action import Ran, Unreachable
from runbook.host import Compose, Docker, Host, Local, Ssh
from runbook.transports.bound import Bound
from runbook.transports.docker import DockerEngine
from runbook.transports.docker_exec import DEFAULT_HOST, CouldNotExec, Exec
from runbook.transports.docker_exec import DockerEngine as ExecEngine
from runbook.transports.environment import allowed_environment
from runbook.transports.last_words import start_remedy
from runbook.transports.own_program import resolved
from runbook.transports.trouble import Trouble, not_built, unreachable

if TYPE_CHECKING:
    from docker.models.containers import Container

LONGEST_OUTPUT = 64 * 1024
NOT_FOUND = 127
_NO_PROGRAM = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELOOP, errno.ENAMETOOLONG}
)
"""What the kernel says of a program that isn't there, or isn't one for this user."""
_CHUNK = 65_536
_SUMMARY = "a command gave no answer"


class Commands:
    """Runs short commands on hosts."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine

    def run(
        self, host: Host, argv: Sequence[str], bound: Bound, *, longest: int = LONGEST_OUTPUT, user: str = ""
    ) -> Ran:
        """Run it to its end. Raises :class:`Unreachable` where it can't be run, takes too long or prints too much."""
        match host:
            case Local():
                return _run_here(argv, bound, longest)
            case Docker() | Compose():
                try:
                    container = self._engine.one(host)
                except Trouble as error:
                    raise Unreachable(error.problem) from None
                return _run_in(container, argv, bound, longest=longest, user=user)
            case Ssh():
                raise Unreachable(not_built(f"running commands on {host}").problem)


def _run_here(argv: Sequence[str], bound: Bound, longest: int) -> Ran:
    try:
        ran = run_bounded(resolved(argv), bound, longest, environment={**allowed_environment(), "LC_ALL": "C"})
    except OSError as error:
        said = f"{argv[0]}: {error.strerror}"
        if error.errno in _NO_PROGRAM:
            return Ran(NOT_FOUND, "", said)
        # What this machine could not give says nothing of the program: a probe's "not done" would do its work twice.
        raise unreachable("E305", _SUMMARY, f"It could not be started: {said}.", start_remedy(said)) from None
    if ran is None:
        raise unreachable(
            "E305",
            _SUMMARY,
            f"`{argv[0]}` was ended: it took too long or printed more than {longest} bytes.",
            "run it there by hand: does it answer, and how soon?",
        )
    code, out, err = ran
    return Ran(code, out.decode(errors="replace"), err.decode(errors="replace"))


def run_bounded(
    argv: Sequence[str], bound: Bound, longest: int, *, environment: Mapping[str, str]
) -> tuple[int, bytes, bytes] | None:
    """Run a program of this machine: its exit code and what it printed. :class:`OSError` where it can't be started.

    None: it took too long, or printed more than ``longest`` bytes, and was ended with all that it had started.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            out, err = _collect(process, bound, longest)
        finally:
            # nobody has waited for it: the number is its group's, whatever is left of that
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return None if out is None or err is None else (process.returncode, out, err)


def _collect(process: subprocess.Popen[bytes], bound: Bound, longest: int) -> tuple[bytes | None, bytes | None]:
    """Both streams; None where a bound was met."""
    assert process.stdout is not None  # noqa: S101 - as it was asked for
    assert process.stderr is not None  # noqa: S101
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as ready:
        for stream in kept:
            ready.register(stream, selectors.EVENT_READ)
        while ready.get_map():
            events = ready.select(bound.left_s())
            if not events and bound.over:
                return None, None
            for key, _ in events:
                data = os.read(key.fd, _CHUNK)
                for stream, content in kept.items():
                    if stream is key.fileobj:
                        content += data
                if not data:
                    ready.unregister(key.fileobj)
            if sum(map(len, kept.values())) > longest:
                return None, None
    try:
        process.wait(bound.left_s())
    except subprocess.TimeoutExpired:
        return None, None
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])


def _run_in(container: Container, argv: Sequence[str], bound: Bound, *, longest: int, user: str) -> Ran:
    """Through the engine's exec. What outlives its time there is left to end by itself: these are short commands."""
    answer: list[Ran] = []
    fault: list[Unreachable] = []
    wanted, left_s = Exec(str(container.id), tuple(argv), user), bound.left_s()

    def work() -> None:
        engine = ExecEngine(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
        try:
            # nobody waits longer than that: without the limit its thread and its connection would stay
            code, out, err = engine.collect(wanted, longest=longest, within_s=left_s, environment=("LC_ALL=C",))
        except CouldNotExec as error:
            fault.append(
                unreachable(
                    "E305",
                    _SUMMARY,
                    f"`{argv[0]}` in {container.name}: {error}",
                    "run it there by hand: does it answer, and how soon?",
                )
            )
            return
        answer.append(Ran(code, out.decode(errors="replace"), err.decode(errors="replace")))

    worker = threading.Thread(target=work, name="docker-exec", daemon=True)
    worker.start()
    worker.join(left_s)
    if fault:
        raise fault[0]
    if not answer:
        raise unreachable(
            "E305",
            _SUMMARY,
            f"`{argv[0]}` in {container.name} took too long.",
            "run it there by hand: does it answer, and how soon?",
        )
    return answer[0]
