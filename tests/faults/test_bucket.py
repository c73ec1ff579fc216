"""The guides' line B148, `aws s3 cp` as archive_command: it overwrites. Then an archive in a bucket as the program has it.

The whole way of an operator, by the installed program: archiving turned on, a base backup, an accident, everything killed in the
middle of the recovery, and the resume.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.evidence.kills import over, processes_about
from tests.evidence.program import PLANS, Program, Ran
from tests.evidence.witness import until
from tests.fixtures.account import Account, server_folder
from tests.fixtures.own_program import runnable_by
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.s3 import S3Server

WITHIN_S = 60.0
DONE = 0
RECOVER = """\
runbook: 1
name: recover
title: To the transaction before the accident
inputs:
  xid: {type: integer}
systems: {db: postgres, bases: store}
steps:
  - id: pick
    title: The newest base backup
    uses: backup.select
    on: bases
    with: {pattern: "cluster-*.tar*"}
    timeout: 1m
  - id: restore
    title: Recover
    uses: postgres.restore_to_time
    on: db
    with: {artifact: "{{ steps.pick.artifact }}", xid: "{{ inputs.xid }}", inclusive: false}
    timeout: 10m
    confirm: The present data directory is kept under another name.
"""


@dataclass
class Yard:
    """A cluster of this machine, a bucket for its WAL, a store, and the program with an environment for them."""

    server: PostgresServer
    folder: Path
    runnable: Path
    s3: S3Server

    @property
    def program(self) -> Program:
        keys = {"WAL_ACCESS": self.s3.access_key, "WAL_SECRET": self.s3.secret_key}
        return Program(self.folder, {"DB_PASSWORD": self.server.password, "NO_COLOR": "1", **keys})

    @property
    def prefix(self) -> str:
        return self.server.data_dir.parent.name

    def environment(self) -> Path:
        path = self.folder / "environment.yaml"
        path.write_text(
            "environment: yard\nsystems:\n"
            f"  db: {{type: postgres, address: 127.0.0.1, port: {self.server.port}, user: {self.server.user}, "
            f'database: postgres, password: {{env: DB_PASSWORD}}, binaries: "{self.server.bin_dir}", '
            f'archive: "s3://{self.s3.bucket}/{self.prefix}"}}\n'
            f'  wal: {{type: store, url: "s3://{self.s3.bucket}/", endpoint: "{self.s3.endpoint}", region: us-east-1, '
            "access_key: {env: WAL_ACCESS}, secret_key: {env: WAL_SECRET}}\n"
            f'  bases: {{type: store, url: "file://{self.folder}/bases"}}\n'
        )
        return path

    def enable(self) -> Ran:
        given = ("--input", f"program={self.runnable}")
        return self.program.run("apply", PLANS / "enable-archiving.yaml", "--env", self.environment(), "--yes", *given)

    def digest(self, name: str) -> str:
        """The SHA-256 of an object; '' where there is none."""
        client = self.s3.client()
        try:
            body = client.get_object(Bucket=self.s3.bucket, Key=f"{self.prefix}/{name}")["Body"].read()
        except client.exceptions.NoSuchKey:
            return ""
        return hashlib.sha256(body).hexdigest()

    def guides_line(self, source: Path, name: str) -> None:
        """`aws s3 cp %p s3://…/%f`; where there is no such program, the SDK's call behind it."""
        url = f"s3://{self.s3.bucket}/{self.prefix}/{name}"
        if (aws := shutil.which("aws")) is None:
            self.s3.client().upload_file(str(source), self.s3.bucket, f"{self.prefix}/{name}")
            return
        keys = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        env = {**os.environ, **keys, "AWS_DEFAULT_REGION": "us-east-1"}
        line = [aws, "--endpoint-url", self.s3.endpoint, "s3", "cp", "--only-show-errors", str(source), url]
        subprocess.run(line, env=env, check=True, timeout=60)

    def closed(self) -> str:
        """Close a segment with a commit in it; its name."""
        self.server.sql("SELECT pg_current_xact_id()")
        return str(self.server.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])

    def stop(self) -> None:
        """End the server by its own process id: a step may have started it anew."""
        for lock in self.server.data_dir.parent.glob("*/postmaster.pid"):
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int(lock.read_text().split()[0]), signal.SIGQUIT)
                until(lambda lock=lock: not lock.exists(), WITHIN_S, "the server ends")  # type: ignore[misc]


@pytest.fixture
def yard(
    tmp_path: Path,
    postgres_account: Account,
    postgres_cluster: Callable[..., PostgresServer],
    s3_server: S3Server,
) -> Iterator[Yard]:
    with server_folder(postgres_account, "program") as folder:
        (tmp_path / "bases").mkdir(mode=0o700)
        made = Yard(postgres_cluster(), tmp_path, runnable_by(postgres_account, folder), s3_server)
        yield made
        made.stop()


def test_fault_b148_aws_s3_cp_overwrites_what_is_there(yard: Yard) -> None:
    assert yard.enable().code == DONE
    name = yard.closed()
    until(lambda: yard.digest(name) != "", WITHIN_S, "it is archived")
    kept = yard.digest(name)
    other = yard.folder / "other"
    other.write_bytes(b"another cluster's" * 100_000)
    yard.guides_line(other, name)
    assert yard.digest(name) != kept, "the guide's line has replaced it"

    # The same with ours: the name that the next segment will have is taken by something else.
    now = yard.server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0]
    yard.guides_line(other, str(now))
    taken = yard.digest(str(now))
    assert yard.closed() == now
    failing = "SELECT last_failed_wal FROM pg_stat_archiver WHERE failed_count > 0"
    until(lambda: yard.server.sql(failing) == [(now,)], WITHIN_S, "the server is told that it failed")
    assert yard.digest(str(now)) == taken, "nothing was replaced"
    logs = [path.read_text(errors="replace") for path in yard.server.data_dir.parent.rglob("*log") if path.is_file()]
    assert any("E638" in text for text in logs), "and its log says why"
    checked = yard.program.run("apply", PLANS / "check-archive.yaml", "--env", yard.environment(), "--yes")
    assert checked.code == 1 and f"{now} could not be archived" in checked.said, checked.said


def test_the_whole_way_out_of_a_bucket_with_everything_killed_in_between(yard: Yard) -> None:
    yard.server.sql("CREATE TABLE notes (word text)")
    enabled = yard.enable()
    assert enabled.code == DONE, enabled.said
    yard.server.sql("INSERT INTO notes VALUES ('kept')")
    with yard.server.connect() as connection:
        row = connection.execute("DELETE FROM notes RETURNING pg_current_xact_id()::text").fetchone()
    assert row is not None
    plan = yard.folder / "recover.yaml"
    plan.write_text(RECOVER)
    validated = yard.program.run("validate", plan, "--env", yard.environment())
    assert validated.code == DONE, validated.said
    arguments = (plan, "--env", yard.environment(), "--input", f"xid={row[0]}", "--yes")
    shown = yard.program.run("plan", *arguments[:-1])
    assert "runbook wal feed --access" in shown.said, shown.said
    assert yard.s3.secret_key not in shown.said

    before = len(yard.program.runs)
    engine = yard.program.start("apply", *arguments)
    until(lambda: len(yard.program.runs) > before and _reached(yard.program, "start_side"), WITHIN_S, "it recovers")
    engine.kill()
    engine.wait(WITHIN_S)
    run = yard.program.directory()
    while doomed := processes_about(run):
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if not over(yard.program):
        resumed = yard.program.run("resume", yard.program.last, "--yes")
        assert resumed.code == DONE, resumed.said
    assert yard.server.sql("SELECT word FROM notes") == [("kept",)]
    until(lambda: yard.digest("00000002.history") != "", WITHIN_S, "the new timeline's history is archived")
    until(lambda: not any(" wal " in line for line in processes_about(run).values()), WITHIN_S, "nobody feeds any more")
    written = [path for path in yard.program.state.rglob("*") if path.is_file()]
    assert not [path for path in written if yard.s3.secret_key.encode() in path.read_bytes()]


def _reached(program: Program, operation: str) -> bool:
    return any(e["event"] == "operation.started" and e["operation"] == operation for e in program.events())
