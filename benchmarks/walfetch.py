"""Recoveries that differ in where their WAL comes from: ours out of a bucket, `cp`, `aws s3 cp`, pgBackRest's asynchronous get."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.cost import Command, Cost, in_turns, ratios
from benchmarks.server import SUPERUSER, Server, serving
from benchmarks.table import Row, s
from runbook.actions.postgres import wal
from runbook.actions.postgres.wal_spool import restore_command
from runbook.sandbox.account import servers_account
from runbook.walstore.access import Access

RUNBOOK = str(Path(sys.executable).with_name("runbook"))
SEGMENTS = 53


@dataclass(frozen=True, slots=True)
class Bench:
    """A base backup, and the WAL since then in a directory (`archive`)."""

    server: Server
    folder: Path

    @property
    def base(self) -> Path:
        """The base backup; it is copied for each recovery."""
        return self.folder / "base"

    @property
    def data(self) -> Path:
        """The cluster that is recovered."""
        return self.folder / "recovered"

    @property
    def archive(self) -> Path:
        """The segments as a directory."""
        return self.folder / "archive"

    @property
    def spool(self) -> Path:
        """Where segments are fetched ahead."""
        return self.folder / "spool"

    def recovery(
        self,
        command: str,
        *,
        before: str = "",
        after: str = "",
        env: Mapping[str, str] | None = None,
        fetched: bool = False,
    ) -> Command:
        """From the start of the server until it takes sessions, all WAL replayed; then it is stopped.

        With ``fetched`` the WAL lies in ``pg_wal`` already: what replay alone takes.
        """
        settings = {"restore_command": command, "hot_standby": "off", "archive_mode": "off", "listen_addresses": ""}
        conf = "".join(f"{key} = {_literal(value)}\n" for key, value in settings.items())
        account = servers_account()
        ctl = f"setpriv --reuid={account.uid} --regid={account.gid} --clear-groups {self.server.binaries}/pg_ctl"
        start = f"{ctl} -s -w -t 600 -D {self.data} -l {self.data}/log -o '-k {self.folder} -p {self.server.port + 1}' start"
        stop = f"{ctl} -s -w -m immediate -D {self.data} stop"

        def prepare() -> None:
            for left in (self.data, self.spool):
                shutil.rmtree(left, ignore_errors=True)
            self.spool.mkdir(mode=0o700)
            subprocess.run(["cp", "-a", self.base, self.data], check=True)
            (self.data / "postgresql.auto.conf").write_text(conf, encoding="utf-8")
            (self.data / "recovery.signal").touch()
            if fetched:
                subprocess.run(["cp", "-R", f"{self.archive}/.", self.data / "pg_wal"], check=True)
            subprocess.run(
                ["chown", "-R", f"{account.uid}:{account.gid}", self.data, self.spool, self.folder], check=True
            )
            subprocess.run(["sync"], check=True)

        ready = f"{self.server.binaries}/pg_isready -q -h {self.folder} -p {self.server.port + 1}"
        awaited = f"until {ready}; do [ -e {self.data}/postmaster.pid ] || break; sleep 0.02; done"
        count = 0 if fetched else len(list(self.archive.iterdir()))
        restored = f"[ $(grep -c 'restored log file .0000' {self.data}/log) -ge {count} ]"
        whole = f"{restored} && grep -q 'redo done at' {self.data}/log || {{ tail -n 20 {self.data}/log; exit 9; }}"
        script = "\n".join(
            line for line in (after and f"trap '{after}' EXIT", before, start, awaited, stop, whole) if line
        )
        return Command(("/bin/sh", "-ec", script), self.folder, {**self.server.env, **(env or {})}, prepare=prepare)


def measure(folder: Path, *, quick: bool) -> Iterator[Row]:
    """Every row of the table of WAL fetching."""
    count = 20 if quick else SEGMENTS
    with serving() as server, _bucket(folder) as access:
        place = server.data.parent / "fetching"
        place.mkdir()
        bench = Bench(server, place)
        _fill(bench, count)
        archive = access.open()
        for path in sorted(bench.archive.iterdir()):
            archive.put(path.name, path)
        sides = dict(_sides(bench, access))
        found = in_turns(sides, 1 if quick else 3)
        yield from _rows(found, count)


def _sides(bench: Bench, access: Access) -> Iterator[tuple[str, Command]]:
    file = bench.folder / "access.json"
    file.touch(mode=0o600)
    file.write_text(
        json.dumps({key: getattr(access, key) for key in ("url", "endpoint", "region", "access_key", "secret_key")}),
        encoding="utf-8",
    )
    feed = shlex.join([RUNBOOK, "wal", "feed", "--access", str(file), str(bench.spool)])
    yield (
        "ours",
        bench.recovery(
            restore_command(str(bench.spool)),
            before=f"{feed} > /dev/null",
            after=f"mv {bench.spool} {bench.spool}.over; rm -r {bench.spool}.over",
        ),
    )
    yield "replay", bench.recovery("false", fetched=True)
    yield "cp", bench.recovery(f'cp {bench.archive}/%f "%p"')
    if (aws := shutil.which("aws")) is not None:
        keys = {"AWS_ACCESS_KEY_ID": access.access_key, "AWS_SECRET_ACCESS_KEY": access.secret_key}
        home = {"AWS_DEFAULT_REGION": access.region, "HOME": str(bench.folder)}
        get = f'{aws} --endpoint-url {access.endpoint} s3 cp --only-show-errors {access.url}/%f "%p"'
        yield "aws", bench.recovery(get, env=keys | home)
    if shutil.which("pgbackrest") is not None:
        yield "pgbackrest", _pgbackrest(bench)


def _pgbackrest(bench: Bench) -> Command:
    """Its repository on the same disk, uncompressed: as fast as it can be; ours comes through HTTP."""
    account = servers_account()
    place = bench.folder / "pgbackrest"
    place.mkdir()
    for name, data, port in (
        ("push", bench.server.data, bench.server.port),
        ("get", bench.data, bench.server.port + 1),
    ):
        (place / f"{name}.conf").write_text(
            f"[global]\nrepo1-path={place}/repo\nspool-path={place}/spool\nlog-path={place}/log\nlock-path={place}/lock\n"
            "compress-type=none\narchive-async=y\nprocess-max=2\nlog-level-file=off\n"
            f"[bench]\npg1-path={data}\npg1-port={port}\npg1-socket-path={bench.server.data.parent}\npg1-user={SUPERUSER}\n",
            encoding="utf-8",
        )
    for name in ("repo", "spool", "log", "lock"):
        (place / name).mkdir()
    subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", bench.folder], check=True)
    run = [
        *("setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"),
        *("pgbackrest", f"--config={place}/push.conf", "--stanza=bench", "--no-archive-async"),
    ]
    env = dict(bench.server.env)
    env.pop("PGHOST")
    subprocess.run([*run[:-1], "stanza-create"], check=True, env=env, stdout=subprocess.DEVNULL)
    for path in sorted(bench.archive.iterdir()):
        subprocess.run([*run, "archive-push", path], check=True, env=env, stdout=subprocess.DEVNULL)
    return bench.recovery(f'pgbackrest --config={place}/get.conf --stanza=bench archive-get %f "%p"')


def _fill(bench: Bench, count: int) -> None:
    """A base backup, then that many segments of inserts and updates, copied out of pg_wal."""
    server, account = bench.server, servers_account()
    server.run("CREATE TABLE filling (n bigint PRIMARY KEY, t text)")
    subprocess.run(
        [server.binaries / "pg_basebackup", "-D", bench.base, "-Fp", "-X", "none", "-c", "fast"],
        check=True,
        env=dict(server.env),
        stderr=subprocess.DEVNULL,
    )
    first = str(server.run("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0])
    begun, at = wal.parse_name(first), 0
    assert isinstance(begun, wal.Segment)
    while True:
        server.run(f"INSERT INTO filling SELECT n, repeat(md5(n::text), 8) FROM generate_series({at}, {at + 19999}) n")
        server.run(f"UPDATE filling SET t = t || 'x' WHERE n >= {at} AND n % 4 = 0")
        at += 20000
        now = wal.parse_name(str(server.run("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]))
        assert isinstance(now, wal.Segment)
        if now.number - begun.number >= count:
            break
    last = str(server.run("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    bench.archive.mkdir()
    for path in sorted((server.data / "pg_wal").iterdir()):
        if isinstance(wal.parse_name(path.name), wal.Segment) and path.name <= last:
            shutil.copyfile(path, bench.archive / path.name)
    subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", bench.folder], check=True)


@contextmanager
def _bucket(folder: Path) -> Iterator[Access]:
    """The sandbox's S3 server."""
    state = folder / "sandbox"
    run = [RUNBOOK, "sandbox"]
    subprocess.run(
        [*run, "up", "--empty", "--state", state], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found = subprocess.run([*run, "status", "--json", "--state", state], check=True, capture_output=True, text=True)
        port = next(part["address"] for part in json.loads(found.stdout)["parts"] if part["name"] == "s3")
        keys = {name: next(state.rglob(f"s3-{name}-key")).read_text().strip() for name in ("access", "secret")}
        yield Access("s3://docs/wal", port, "us-east-1", keys["access"], keys["secret"])
    finally:
        subprocess.run([*run, "down", "--delete-data", "--state", state], check=False, stdout=subprocess.DEVNULL)


def _rows(found: Mapping[str, list[Cost]], count: int) -> Iterator[Row]:
    labels = {
        "cp": ("local cp", 1.5),
        "aws": ("aws s3 cp (the guide's)", None),
        "pgbackrest": ("pgBackRest, asynchronous, local repository", 1.0),
    }
    ours = [cost.wall_s for cost in found["ours"]]
    for side, (label, goal) in labels.items():
        if side not in found:
            yield Row(f"recovery of {count} segments", s(median(ours)), f"{label}: not on this machine")
            continue
        other = [cost.wall_s for cost in found[side]]
        yield Row(
            f"recovery of {count} segments out of a bucket: wall",
            f"{s(median(ours))}, {median(ours) / count * 1000:.0f} ms a segment",
            f"{label} {s(median(other))}, {median(other) / count * 1000:.0f} ms",
            ratios(ours, other),
            goal,
        )
    replay = [cost.wall_s for cost in found["replay"]]
    yield Row(f"replay of {count} segments, none to fetch", "", f"{s(median(replay))}")
    for side, (label, _) in labels.items():
        if side in found:
            pairs = zip((cost.wall_s for cost in found[side]), replay, strict=True)
            alone = [a - b for a, b in zip(ours, replay, strict=True)]
            yield _fetching(label, alone, [a - b for a, b in pairs], count, _FETCHING_GOALS[side])


_FETCHING_GOALS = {"cp": 1.5, "aws": 0.1, "pgbackrest": 1.0}


def _fetching(label: str, ours: list[float], other: list[float], count: int, goal: float) -> Row:
    """What is left when replay is taken off, round by round."""
    return Row(
        f"fetching of {count} segments: recovery less replay",
        f"{median(ours) / count * 1000:.0f} ms a segment",
        f"{label} {median(other) / count * 1000:.0f} ms",
        ratios(ours, other),
        goal,
    )


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
