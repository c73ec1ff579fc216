"""Recovery out of a bucket, on a real cluster and a real S3 server: exact, resumed after any kill, and never early."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runbook.action import Unreachable
from runbook.actions.postgres.basebackup import Basebackup
from runbook.actions.postgres.drop_side import DropSide
from runbook.actions.postgres.recovery_step import RestoreToTimeInputs
from runbook.actions.postgres.restore_to_time import RestoreToTime
from runbook.artifact import Artifact
from runbook.errors import Refused
from runbook.host import Docker
from runbook.system import Postgres, Store
from runbook.units import parse_instant
from tests.actions.harness import Stage, StepFailed
from tests.actions.postgres.archived import Cluster
from tests.actions.postgres.life import Life
from tests.actions.systems import bucket, on_this_machine
from tests.fixtures.account import Account, server_folder
from tests.fixtures.own_program import runnable_by
from tests.fixtures.patience import eventually
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.process import lives, works_in
from tests.fixtures.s3 import S3Server


@dataclass
class Bucketed(Cluster):
    """A cluster that archives into a bucket."""

    s3: S3Server = field(default_factory=lambda: S3Server(""))
    prefix: str = ""

    def objects(self) -> set[str]:
        found = self.s3.client().list_objects_v2(Bucket=self.s3.bucket, Prefix=f"{self.prefix}/").get("Contents", ())
        return {str(one["Key"]).rpartition("/")[2] for one in found}

    def feeders(self) -> list[int]:
        """Processes that feed a spool beside the data."""
        beside = str(self.data.parent).encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            except OSError:
                continue
            if b"feed" in words and any(word.startswith(beside) for word in words):
                found.append(int(entry.name))
        return [pid for pid in found if lives(pid)]


@pytest.fixture
def cluster(
    stage: Stage,
    tmp_path: Path,
    postgres_account: Account,
    postgres_cluster: Callable[..., PostgresServer],
    s3_server: S3Server,
) -> Iterator[Bucketed]:
    with server_folder(postgres_account, "keys") as folder:
        prefix = folder.name
        access = folder / "access.json"
        access.touch(mode=0o600)
        access.write_text(
            f'{{"url": "s3://{s3_server.bucket}/{prefix}", "endpoint": "{s3_server.endpoint}", "region": "us-east-1", '
            f'"access_key": "{s3_server.access_key}", "secret_key": "{s3_server.secret_key}"}}'
        )
        postgres_account.give(access)
        command = f'{runnable_by(postgres_account, folder)} wal push --access {access} "%p"'
        server = postgres_cluster(archive_mode="on", wal_level="replica", archive_command=command, wal_keep_size="64MB")
        found = Bucketed(server, folder, _system(stage, tmp_path, server, s3_server, prefix), {}, s3_server, prefix)
        server.sql("CREATE TABLE notes (word text)")
        yield found
        found.stop_all()
        server.stop(signal.SIGQUIT)
        eventually(lambda: not found.feeders())


def _system(stage: Stage, tmp_path: Path, server: PostgresServer, s3: S3Server, prefix: str) -> Postgres:
    stage.systems = {**stage.systems, "wal": bucket(s3, tmp_path)}
    archive = f"s3://{s3.bucket}/{prefix}/"
    return on_this_machine(server, tmp_path, archive=archive, binaries=str(server.bin_dir))


@pytest.fixture
def base(stage: Stage, cluster: Bucketed, backups: Store) -> Artifact:
    cluster.commit("0 base")
    made = stage.live(Basebackup(), cluster.db, stage.scope("base"), to=backups).artifact
    assert isinstance(made, Artifact)
    cluster.archived()
    return made


def life(stage: Stage, cluster: Bucketed, base: Artifact, step: str = "recover", **written: object) -> Life:
    return Life(stage, RestoreToTime(), cluster.db, stage.scope(step), {"artifact": base, **written})


def there(cluster: Bucketed, out: object) -> list[str]:
    """The notes in a side copy."""
    argv = [cluster.server.tool("psql"), "-h", getattr(out, "address", ""), "-p", str(getattr(out, "port", 0))]
    asked = ["-U", cluster.server.user, "-XAtc", "SELECT word FROM notes ORDER BY 1", "postgres"]
    return cluster.server.account.run([*argv, *asked]).split("\n")[:-1]


def left_in_the_run(stage: Stage) -> list[str]:
    """Files with keys in the run's directory, and keys in what it printed."""
    return [path.name for path in stage.directory.rglob("*") if path.is_file() and b"test-secret" in path.read_bytes()]


def test_between_two_commits_and_later_along_the_new_timeline(stage: Stage, cluster: Bucketed, base: Artifact) -> None:
    cluster.commit("1 kept")
    target = cluster.commit("2 kept too")
    cluster.commit("3 accident")
    step = life(stage, cluster, base, target=target)
    performed = step.go()
    out = step.end()
    assert cluster.notes() == ["0 base", "1 kept", "2 kept too"]
    assert performed.index("feed") < performed.index("start_side") < performed.index("proof")
    assert performed.index("promote") < performed.index("end_feeding") < performed.index("stop_live")
    assert out.timeline == 2
    assert "00000002.history" in cluster.objects()
    assert cluster.beside() == {Path(out.kept_as).name}
    assert cluster.feeders() == []
    assert left_in_the_run(stage) == []

    time.sleep(1.1)  # a bucket tells times in whole seconds: until then it could have been before the fork
    later = cluster.commit("4 afterwards")
    cluster.commit("5 too late")
    again = life(stage, cluster, base, "again", target=later)
    again.go()
    assert again.end().timeline == 3
    assert cluster.notes() == ["0 base", "1 kept", "2 kept too", "4 afterwards"]


def test_every_kind_of_target_beside_the_live_one(stage: Stage, cluster: Bucketed, base: Artifact) -> None:
    cluster.commit("1 kept")
    cluster.server.sql("SELECT pg_create_restore_point('before the migration')")
    with cluster.server.connect() as connection:
        row = connection.execute("INSERT INTO notes VALUES ('2 accident') RETURNING pg_current_xact_id()::text")
        bad = int(str((row.fetchone() or ("0",))[0]))
    after = str(cluster.server.sql("SELECT pg_current_wal_insert_lsn()::text")[0][0])
    cluster.commit("3 later")
    kept, all_of_it = ["0 base", "1 kept"], ["0 base", "1 kept", "2 accident", "3 later"]
    wanted: dict[str, tuple[dict[str, object], list[str]]] = {
        "before": ({"xid": bad, "inclusive": False}, kept),
        "name": ({"name": "before the migration"}, kept),
        "lsn": ({"lsn": after, "inclusive": False}, all_of_it[:3]),
        "end": ({"latest": True}, all_of_it),
    }
    for name, (given, notes) in wanted.items():
        step = life(stage, cluster, base, name, mode="side", **given)
        step.go()
        out = step.end()
        assert there(cluster, out) == notes, name
        assert parse_instant(out.last_transaction)
        assert cluster.feeders() == []
        step.undo()
        assert cluster.beside() == set()
    assert cluster.notes() == all_of_it
    assert "00000002.history" not in cluster.objects(), "a side cluster leaves no trace in the archive"


def test_an_object_that_was_changed_is_named_and_the_live_cluster_left_alone(
    stage: Stage, cluster: Bucketed, base: Artifact
) -> None:
    cluster.server.sql("SELECT pg_switch_wal()")
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target=target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("name_side") + 1)
    segment = max(name for name in cluster.objects() if len(name) == 24)
    client, key = cluster.s3.client(), f"{cluster.prefix}/{segment}"
    kept = client.get_object(Bucket=cluster.s3.bucket, Key=key)
    body = kept["Body"].read()
    flipped = bytearray(body)
    flipped[len(body) // 2] ^= 1
    client.put_object(Bucket=cluster.s3.bucket, Key=key, Body=bytes(flipped), Metadata=kept["Metadata"])
    with pytest.raises(StepFailed, match=f"{segment}.*SHA-256"):
        step.go()
    assert cluster.notes() == ["0 base", "1 kept", "2 accident"]
    assert cluster.feeders() == [], "nobody takes from it any more"
    client.put_object(Bucket=cluster.s3.bucket, Key=key, Body=body, Metadata=kept["Metadata"])
    assert "extract" not in step.go()
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", ["archive_access", "feed", "start_side", "recovered", "promote", "end_feeding"])
def test_everything_is_killed_and_the_resume_goes_on(
    stage: Stage, cluster: Bucketed, base: Artifact, stop_after: str
) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target=target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index(stop_after) + 1)
    for pid in cluster.feeders():
        os.kill(pid, signal.SIGKILL)
    for side in cluster.data.parent.glob("data.rb_*/postmaster.pid"):
        os.kill(int(side.read_text().split()[0]), signal.SIGKILL)
    eventually(lambda: not cluster.feeders())
    eventually(lambda: not any(map(works_in, cluster.data.parent.glob("data.rb_*"))))
    step.go()
    out = step.end()
    assert cluster.notes() == ["0 base", "1 kept"]
    assert cluster.beside() == {Path(out.kept_as).name}
    assert cluster.feeders() == []
    assert left_in_the_run(stage) == []


def test_only_the_feeder_is_killed(stage: Stage, cluster: Bucketed, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    step = life(stage, cluster, base, target=target)
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("feed") + 1)
    (pid,) = cluster.feeders()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not lives(pid))
    assert "feed" in step.go()
    step.end()
    assert cluster.notes() == ["0 base", "1 kept"]
    assert cluster.feeders() == []


@contextmanager
def gateway(to: str) -> Iterator[tuple[str, threading.Event]]:
    """An address before the S3 server, which goes silent when the event is set."""
    silent = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._pass()

        def do_HEAD(self) -> None:
            self._pass()

        def do_PUT(self) -> None:
            self._pass()

        def _pass(self) -> None:
            if silent.is_set():
                self.close_connection = True
                return
            import http.client

            inner = http.client.HTTPConnection(to.removeprefix("http://"), timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {key: value for key, value in self.headers.items() if key.lower() != "expect"}
            inner.request(self.command, self.path, body, headers)
            answer = inner.getresponse()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("transfer-encoding", "connection", "server", "date"):
                    self.send_header(key, value)
            self.end_headers()
            self.wfile.write(answer.read())
            inner.close()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", silent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
def test_a_bucket_that_falls_silent_is_a_failure_and_the_resume_goes_on(
    stage: Stage, cluster: Bucketed, base: Artifact
) -> None:
    cluster.server.sql("SELECT pg_switch_wal()")
    target = cluster.commit("1 kept")
    cluster.commit("2 accident")
    bucket = stage.systems["wal"]
    with gateway(cluster.s3.endpoint) as (endpoint, silent):
        stage.systems = {**stage.systems, "wal": bucket.model_copy(update={"endpoint": endpoint})}
        step = life(stage, cluster, base, target=target)
        names = [one.name for one in step.plan()]
        step.go(stop_after=names.index("feed") + 1)
        silent.set()
        with pytest.raises(StepFailed, match=r"endpoint|Connection"):
            step.go()
        assert cluster.notes() == ["0 base", "1 kept", "2 accident"]
        assert cluster.feeders() == []
        silent.clear()
        assert "extract" not in step.go()
        step.end()
    assert cluster.notes() == ["0 base", "1 kept"]


def test_a_copy_that_was_given_up_leaves_no_process(stage: Stage, cluster: Bucketed, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    step = life(stage, cluster, base, target=target, mode="side")
    names = [one.name for one in step.plan()]
    step.go(stop_after=names.index("recovered") + 1)
    assert len(cluster.feeders()) == 1
    drop = Life(stage, DropSide(), cluster.db, stage.scope("drop"), {"step": "recover"})
    drop.go()
    drop.scope = replace(drop.scope, resumed=True)
    drop.end()
    assert cluster.feeders() == []
    assert cluster.beside() == set()
    assert left_in_the_run(stage) == []


def test_what_can_not_be_done_is_refused(stage: Stage, cluster: Bucketed, base: Artifact) -> None:
    target = cluster.commit("1 kept")
    contained = cluster.db.model_copy(update={"host": Docker("no-such")})
    inputs = RestoreToTimeInputs.model_validate({"artifact": base, "target": target, "mode": "side"})
    with pytest.raises(Refused, match="E669"):
        RestoreToTime().plan(contained, inputs, RestoreToTime().assume(contained, inputs, stage.scope()), stage.scope())
    for _ in range(2):
        cluster.server.sql("SELECT pg_switch_wal()")
        cluster.commit("2 later")
    assert base.manifest is not None
    first = int(base.manifest.wal_stop.partition("/")[2], 16) >> 24
    segment, after = f"00000001{first:016X}", f"00000001{first + 1:016X}"
    eventually(lambda: after in cluster.objects())
    cluster.s3.client().delete_object(Bucket=cluster.s3.bucket, Key=f"{cluster.prefix}/{segment}")
    with pytest.raises(Refused, match=segment):
        life(stage, cluster, base, "gap", latest=True).plan()
    wrong = stage.systems["wal"].model_copy(update={"endpoint": "http://127.0.0.1:1"})
    stage.systems = {**stage.systems, "wal": wrong}
    with pytest.raises(Unreachable, match="the bucket could not be asked"):
        life(stage, cluster, base, "unreachable", target=target).plan()
