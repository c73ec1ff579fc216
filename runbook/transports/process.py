"""Processes and pipelines, through the run's supervisor.

Owns the way of :class:`~runbook.operation.Process` and :class:`~runbook.operation.Pipeline` to what a supervisor is asked, and of
its answer to an outcome. Promises: an argv is a list from end to end; a late value can't become an option; a child gets an
allowlisted environment and its own secrets only, in files or variables; what was killed while it changed something is
:class:`Lost`.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import assert_never

from runbook.errors import Bug, Problem
from runbook.host import LOCAL, Compose, Docker, Host, Local, Ssh
from runbook.late import Results, text
from runbook.operation import Arg, Env, Fields, Hashing, Pipeline, Process, Ref, SecretFile
from runbook.operation import Stage as PlannedStage
from runbook.secret import Redactor
from runbook.transports.bound import Bound
from runbook.transports.durable import PARTIAL
from runbook.transports.environment import allowed_environment
from runbook.transports.far import FarSide, ended_by_signal
from runbook.transports.files import owner_ids
from runbook.transports.last_words import (
    LOOK_THERE,
    changed_files,
    ended_there,
    exceeded,
    last_words,
    look_at_sink,
    look_there,
    start_remedy,
    tail,
)
from runbook.transports.outcome import Failed, Lost, Outcome, Progress, Succeeded, Use
from runbook.transports.own_program import own_environment, resolved
from runbook.transports.running import Running
from runbook.transports.secrets import SecretStore
from runbook.transports.supervisor import worker
from runbook.transports.supervisor.client import Supervisor, SupervisorLost, SupervisorRefused
from runbook.transports.supervisor.requests import (
    GRACE_S,
    Captured,
    Discarded,
    Ended,
    File,
    Hash,
    Lifetime,
    Nothing,
    Spawn,
    Stage,
    Text,
    User,
    Why,
)
from runbook.transports.supervisor.worker import CANNOT_RUN
from runbook.transports.trouble import LATE, Trouble, not_built, trouble

LONGEST_STDERR = 64 * 1024
_UNFIT = re.compile(r"[^A-Za-z0-9_.\[\]-]+")


class Processes:
    """Performs processes and pipelines of one run."""

    def __init__(
        self,
        run_directory: Path,
        *,
        supervisor: Callable[[], Supervisor],
        secrets: SecretStore,
        redactor: Redactor,
        far: FarSide,
        running: Running,
        monotonic: Callable[[], float],
    ) -> None:
        self._directory = run_directory
        self._supervisor = supervisor
        self._secrets = secrets
        self._redactor = redactor
        self._far = far
        self._running = running
        self._monotonic = monotonic
        self._logs_made = False

    @cached_property
    def _inherited(self) -> Mapping[str, str]:
        """What children get of the engine's environment, as it was at the first of them."""
        return allowed_environment()

    def perform(self, operation: Process | Pipeline, use: Use) -> Outcome:
        """Run it to its end. Raises :class:`Trouble` before anything ran."""
        bound = Bound(self._monotonic, use.deadline)
        if bound.over or self._running.stopped(use.id):
            raise trouble(
                "E301",
                "a process could not be started",
                "The time for it was over before it began.",
                LATE,
            )
        try:
            spawn = self._spawn(operation, use, bound)
            note = self._far.note(use.id)
            if note and not operation.reads:
                use.note(note)
            ended = self._run(spawn, operation, use)
            return ended if isinstance(ended, Failed | Lost) else self._judge(operation, ended, use.id)
        finally:
            self._far.forget(use.id)

    def _run(self, spawn: Spawn, operation: Process | Pipeline, use: Use) -> Ended | Failed | Lost:
        supervisor = self._supervisor()
        total = operation.total_bytes if isinstance(operation, Pipeline) else 0

        def stop(grace_s: float) -> None:
            with suppress(SupervisorLost):  # whoever waits for it learns the same
                supervisor.kill(use.id, grace_s)
            self._far.kill_all(use.id, grace_s)

        with self._running.stoppable(use.id, stop):
            try:
                return supervisor.spawn(spawn, lambda count: use.progress(Progress(count, total)))
            except SupervisorRefused as error:
                raise Trouble(error.problems[0]) from None
            except SupervisorLost as error:
                problem = error.problems[0]
                return Failed(problem) if operation.reads else Lost(problem)

    def _judge(self, operation: Process | Pipeline, ended: Ended, use_id: str) -> Outcome:
        """What it came to; with the far side asked where its client here can't tell."""
        handles = self._far.handles(use_id)
        moves = False
        if handles and ended.why is not Why.EXITED:
            moves = not self._far.kill_all(use_id, GRACE_S)  # ended here is not ended there
        if moves and ended.exits and not operation.reads:
            return Lost(self._problem("E306", "the connection to a process in a container was lost", ended))
        if len(handles) == 1 and isinstance(operation, Process) and ended.code in (CANNOT_RUN, None):
            match self._far.ask(handles[0]):
                case worker.NeverStarted():
                    return Failed(self._problem("E301", "a process could not be started", ended))
                case worker.Finished(code) if code != CANNOT_RUN:
                    ended = replace(ended, why=Why.EXITED, exits=(replace(ended.exits[-1], code=code, signal=None),))
                case _:
                    problem = self._problem("E306", "the connection to a process in a container was lost", ended)
                    return Failed(problem) if operation.reads else Lost(problem)
        return self.outcome(operation, ended, use_id)

    def _problem(self, code: str, summary: str, ended: Ended) -> Problem:
        return Problem(code, summary, last_words(ended), LOOK_THERE)

    def outcome(self, operation: Process | Pipeline, ended: Ended, use_id: str) -> Outcome:
        """What an exit record means for the operation."""
        log = f"logs/{log_name(use_id)}"
        fields = _fields(operation, ended, log)

        def see() -> str:
            return f"less {self._directory / log}" if (self._directory / log).exists() else ""

        match ended.why:
            case Why.NOT_STARTED:
                return Failed(
                    Problem("E301", "a process could not be started", ended.detail, start_remedy(ended.detail)), fields
                )
            case Why.KILLED | Why.TIMED_OUT | Why.STUCK:
                how = {Why.KILLED: "It was ended on request.", Why.TIMED_OUT: "It did not end in time, and was ended."}
                detail = f"{how.get(ended.why, 'It could not be ended.')} {ended.detail}\n{tail(ended)}".strip()
                problem = Problem("E302", "a process was ended before it was done", detail, see())
                return Failed(problem, fields) if operation.reads else Lost(problem)
            case Why.EXITED | Why.BROKEN:
                return _ended_itself(operation, ended, fields, see)
            case Why.EXCEEDED:
                return Failed(exceeded(operation), fields)
            case _:
                assert_never(ended.why)

    def _spawn(self, operation: Process | Pipeline, use: Use, bound: Bound) -> Spawn:
        log = self._directory / "logs" / log_name(use.id)
        if not self._logs_made:
            log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._logs_made = True
        outline = _Outline(use.id, str(log), bound.left_s())
        match operation:
            case Process():
                planned = PlannedStage(
                    argv=operation.argv,
                    host=operation.host,
                    env=operation.env,
                    user=operation.user,
                    ok_codes=operation.ok_codes,
                )
                stage = self._stage(planned, use, cwd=operation.cwd, number=0)
                spawn = Spawn(
                    id=outline.id,
                    stages=(stage,),
                    input=Text(operation.stdin) if operation.stdin else Nothing(),
                    log=outline.log,
                    timeout_s=outline.timeout_s,
                    lifetime=Lifetime.DAEMON if operation.daemon else Lifetime.STEP,
                    forms=self._redactor.forms,
                )
            case Pipeline():
                spawn = self._pipeline(operation, use, outline)
        return spawn

    def _pipeline(self, operation: Pipeline, use: Use, outline: _Outline) -> Spawn:
        if operation.sink and not operation.sink.endswith(PARTIAL):
            raise Bug(f"The sink of {operation.name} has to end in {PARTIAL}: {operation.sink}")
        stages = tuple(self._stage(one, use, cwd="", number=number) for number, one in enumerate(operation.stages))
        return Spawn(
            id=outline.id,
            stages=stages,
            input=File(operation.source) if operation.source else Nothing(),
            sink=File(operation.sink) if operation.sink else Captured() if stages else Discarded(),
            hash=Hash.SOURCE if operation.hashing is Hashing.SOURCE else Hash.SINK,
            log=outline.log,
            timeout_s=outline.timeout_s,
            forms=self._redactor.forms,
        )

    def _stage(self, planned: PlannedStage, use: Use, *, cwd: str, number: int) -> Stage:
        argv = tuple(_argument(one, use.results) for one in planned.argv)
        env, files = self._environment(planned.env)
        most = planned.most_bytes
        match planned.host:
            case Local():
                user, about = _local_user(planned.user)
                return Stage(
                    argv=resolved(argv),
                    env={**self._inherited, **own_environment(argv), **about, **env},
                    files=files,
                    cwd=cwd or None,
                    user=user,
                    ok_codes=planned.ok_codes,
                    most_bytes=most,
                )
            case Docker() | Compose():
                plain = Stage(
                    argv=argv, env=env, files=files, cwd=cwd or None, ok_codes=planned.ok_codes, most_bytes=most
                )
                return self._far.stage(planned.host, plain, use_id=use.id, number=number, user=planned.user)
            case Ssh():
                raise not_built(
                    f"running processes on {planned.host}", "Run the plan on that machine, with host: local."
                )

    def _environment(self, env: Env) -> tuple[dict[str, str], dict[str, str]]:
        """Variables, and variables whose value is a file with a content."""
        variables: dict[str, str] = {}
        files: dict[str, str] = {}
        for name, value in env:
            match value:
                case str():
                    _refuse_nul(value, "a variable can't be passed", name)
                    variables[name] = value
                case SecretFile(parts):
                    files[name] = "".join(
                        part if isinstance(part, str) else self._secrets.reveal(part).reveal() for part in parts
                    )
                case _:
                    variables[name] = self._secrets.reveal(value).reveal()
        return variables, files


@dataclass(frozen=True, slots=True)
class _Outline:
    id: str
    log: str
    timeout_s: float | None


def log_name(use_id: str) -> str:
    """The file below ``logs/`` of what an operation printed: ``restore.1.1.pg_restore.log``."""
    return _UNFIT.sub("_", use_id.replace("/", ".")).lstrip(".") + ".log"


def hosts_of(operation: Process | Pipeline) -> tuple[Host, ...]:
    """Where its processes run, in the order of the stages."""
    return (operation.host,) if isinstance(operation, Process) else tuple(stage.host for stage in operation.stages)


def _argument(argument: Arg, results: Results) -> str:
    value = text(argument, results)
    _refuse_nul(value, "an argument can't be passed", str(argument))
    if isinstance(argument, Ref) and value.startswith("-"):
        raise trouble(
            "E304",
            "an argument can't be passed",
            f"{argument} is {value[:60]!r}: it would be read as an option.",
            "correct the value that the plan gives for it",
        )
    return value


def _refuse_nul(value: str, summary: str, what: str) -> None:
    if "\0" in value:
        fix = "correct the value that the plan gives for it"
        raise trouble("E304", summary, f"{what} holds a NUL character.", fix)


def _local_user(user: str) -> tuple[User | None, Mapping[str, str]]:
    """The identity to take on, and the variables that go with it. Raises :class:`Trouble` where that can't be had."""
    ids = owner_ids(user)
    if ids is None:
        return None, {}
    uid, gid = ids
    if uid == os.geteuid() and (":" not in user or gid == os.getegid()):
        return None, {}
    if os.geteuid() != 0:
        raise trouble(
            "E301",
            "a process could not be started",
            f"It has to run as {user}, and runbook runs as user {os.geteuid()}, who can't become another.",
            f"sudo -u {user} runbook …    # or run as root",
        )
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid), {"HOME": "/"}
    groups = () if ":" in user else tuple(os.getgrouplist(entry.pw_name, gid))
    about = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    return User(uid, gid, groups), about


_OTHER_BYTES = (
    "it is damaged, or was changed since it was made: choose another one, in a new run, as this run keeps its choice"
)


def _ok_codes(operation: Process | Pipeline) -> tuple[tuple[int, ...], ...]:
    if isinstance(operation, Process):
        return (operation.ok_codes,)
    return tuple(stage.ok_codes for stage in operation.stages)


def _ended_itself(operation: Process | Pipeline, ended: Ended, fields: Fields, see: Callable[[], str]) -> Outcome:
    codes, hosts = _ok_codes(operation), hosts_of(operation)
    bad = [(one, host) for one, ok, host in zip(ended.exits, codes, hosts, strict=False) if one.code not in ok]
    killed = [host for one, host in bad if one.code is None or (host != LOCAL and ended_by_signal(one.code))]
    if killed and ended.why is Why.EXITED:
        there = tuple(host for host in killed if host != LOCAL)
        detail = f"{ended_there(there)}\n{last_words(ended)}".strip()
        problem = Problem("E302", "a process was ended before it was done", detail, look_there(there) or see())
        return Failed(problem, fields) if operation.reads else Lost(problem)
    if changed := changed_files(operation, ended):
        return Failed(Problem("E303", "the bytes are not the expected ones", changed, _OTHER_BYTES), fields)
    if bad or ended.why is Why.BROKEN or len(ended.exits) < len(codes):
        fix = see() or look_at_sink(operation, ended)
        return Failed(Problem("E300", "a process failed", last_words(ended), fix), fields)
    wanted = operation.expect_sha256 if isinstance(operation, Pipeline) else ""
    if wanted and ended.sha256 != wanted:
        read = f"{operation.source}\n" if isinstance(operation, Pipeline) and operation.source else ""
        detail = f"{read}expected sha256 {wanted}\nfound    sha256 {ended.sha256} ({ended.bytes} bytes)"
        return Failed(Problem("E303", "the bytes are not the expected ones", detail, _OTHER_BYTES), fields)
    return Succeeded(fields)


def _fields(operation: Process | Pipeline, ended: Ended, log: str) -> Fields:
    stderr = "\n".join(one.stderr.text for one in ended.exits if one.stderr.text)
    if isinstance(operation, Process):
        return {"exit_code": ended.code, "stdout": ended.stdout.text, "stderr": stderr, "log": log}
    codes = " ".join("-" if one.code is None else str(one.code) for one in ended.exits)
    return {
        **({} if ended.taken is None else {"taken_bytes": ended.taken}),
        "sha256": ended.sha256 or "",
        "bytes": ended.bytes or 0,
        "exit_codes": codes,
        "stdout": ended.stdout.text,
        "stderr": stderr[-LONGEST_STDERR:],
        "log": log,
    }
