"""Dump, restore and base backup beside the bare recipes; how long a writer waits while a restored database is put in place."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.cost import Command, Cost, Spread, in_turns, ratios
from benchmarks.filling import DATABASE, fill
from benchmarks.server import PASSWORD, SUPERUSER, Server, serving
from benchmarks.table import Row, s
from benchmarks.writing import Writer

COPY = "bare_copy"
"""The database that the bare recipes restore into."""
_HEAD = "runbook: 1\nname: {name}\ntitle: {name}\nsystems: {{db: postgres, backups: store}}\nsteps:\n"
_STEP = "  - {{id: {id}, title: {id}, uses: {uses}, on: {on}, with: {with_}, timeout: 1h}}\n"


@dataclass(frozen=True, slots=True)
class Bench:
    """The server, and the folder of plans, stores and run records."""

    server: Server
    folder: Path
    rounds: int

    @property
    def store(self) -> Path:
        """The store of dumps."""
        return self.folder / "store"

    @property
    def dump(self) -> Path:
        """The newest dump in it."""
        return sorted(self.store.glob("*.dump"))[-1]

    def ours(self, name: str, *steps: dict[str, str]) -> Command:
        """``runbook apply`` of a plan of these steps."""
        plan, env = self.folder / f"{name}.yaml", self.folder / "bench.yaml"
        plan.write_text(_HEAD.format(name=name) + "".join(_STEP.format(**step) for step in steps), encoding="utf-8")
        env.write_text(
            "environment: bench\nsystems:\n"
            f"  db: {{type: postgres, address: 127.0.0.1, port: {self.server.port}, user: {SUPERUSER}, "
            f"database: {DATABASE}, password: {{env: {PASSWORD}}}}}\n"
            f"  backups: {{type: store, url: 'file://{self.store}'}}\n",
            encoding="utf-8",
        )
        program = str(Path(sys.executable).with_name("runbook"))
        argv = (program, "apply", str(plan), "--env", str(env), "--yes", "--state", str(self.folder / "state"))
        return Command(argv, self.folder, self.server.env, prepare=self.settle)

    def bare(self, script: str) -> Command:
        """A recipe, by the shell that its author would type it into."""
        return Command(("/bin/sh", "-ec", script), self.folder, self.server.env, prepare=self.settle)

    def settle(self) -> None:
        """What earlier sides left is removed and on the disk, before anything is measured."""
        for (name,) in self.server.run(f"SELECT datname FROM pg_database WHERE datname LIKE '{DATABASE}_old%'"):
            self.server.run(f'DROP DATABASE "{name}"')
        self.server.run(f"DROP DATABASE IF EXISTS {COPY}")
        for left in self.folder.glob("bare.*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.server.run("CHECKPOINT")

    def spent(self) -> dict[str, float]:
        """Seconds of each operation of the newest run, from its journal."""
        journal = max((self.folder / "state" / "runs").iterdir(), key=lambda run: run.name) / "journal.jsonl"
        records = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
        return {r["operation"]: r["duration_s"] for r in records if r["event"] == "operation.finished"}


def measure(folder: Path, *, quick: bool, only: str = "") -> Iterator[Row]:
    """Every row of the recovery table, or those of one of :data:`PARTS`."""
    with serving() as server:
        bench = Bench(server, folder, rounds=2 if quick else 3)
        bench.store.mkdir()
        size = fill(server, 5 if quick else 50)
        yield Row("database", f"{size / 1e9:.2f} GB", "")
        for name, part in PARTS.items():
            if only in ("", name):
                yield from part(bench)


def _dumped(bench: Bench) -> Iterator[Row]:
    dump = {"id": "dump", "uses": "postgres.dump", "on": "db", "with_": "{to: backups}"}
    parts: list[dict[str, float]] = []
    ours = bench.ours("dump", dump)

    def noted() -> Cost:
        cost = ours()
        parts.append(bench.spent())
        return cost

    found = in_turns(
        {
            "ours": noted,
            "best": bench.bare(f"pg_dump -Fd -j2 -Z1 -f bare.dir {DATABASE}"),
            "guide": bench.bare(f"pg_dump -Fc -Z9 -f bare.file {DATABASE}"),
        },
        bench.rounds,
    )
    yield from _beside("dump", found, {"best": ("pg_dump -Fd -j2 -Z1", 1.05), "guide": ("pg_dump -Fc -Z9", 0.5)})
    yield _apart("dump", parts)
    prove = {
        "id": "prove",
        "uses": "postgres.verify_dump",
        "on": "db",
        "with_": '{artifact: "{{ steps.pick.artifact }}"}',
    }
    cost = bench.ours("prove", _pick(), prove)()
    size = sum(file.stat().st_size for file in bench.dump.rglob("*") if file.is_file())
    yield Row("  proving the dump (whole command)", s(cost.wall_s), f"the dump has {size / 1e6:.0f} MB")


def _restored(bench: Bench) -> Iterator[Row]:
    restore = {
        "id": "restore",
        "uses": "postgres.restore",
        "on": "db",
        "with_": '{artifact: "{{ steps.pick.artifact }}", jobs: 2}',
    }
    ours = bench.ours("restore", _pick(), restore)
    plain = bench.folder / "guide.sql.gz"
    bench.bare(f"pg_dump {DATABASE} | gzip -1 > {plain}")()
    parts: list[dict[str, float]] = []

    def noted() -> Cost:
        cost = ours()
        parts.append(bench.spent())
        return cost

    found = in_turns(
        {
            "ours": noted,
            "best": bench.bare(f"createdb {COPY}; pg_restore -j2 -d {COPY} {bench.dump}"),
            "guide": bench.bare(f"createdb {COPY}; gunzip -c {plain} | psql -q -o /dev/null -d {COPY}"),
        },
        bench.rounds,
    )
    yield from _beside(
        "restore, verified and swapped", found, {"best": ("pg_restore -j2", 1.03), "guide": ("gunzip | psql", None)}
    )
    loads = [part["load"] for part in parts]
    best = [c.wall_s for c in found["best"]]
    yield Row(
        "  its pg_restore alone", s(median(loads)), f"pg_restore -j2 {s(median(best))}", ratios(loads, best), 1.03
    )
    yield _apart("restore", parts)
    gaps = []
    for _ in range(bench.rounds):
        with Writer(bench.server) as writer:
            ours()
        gaps.append(writer.gap_s)
    limit, guide = Spread.of([gap / 2.0 for gap in gaps]), median(c.wall_s for c in found["guide"])
    yield Row(
        "write downtime of the swap", s(median(gaps)), "limit 2 s", limit, 1.0, f"the guide's whole restore: {s(guide)}"
    )


def _copied(bench: Bench) -> Iterator[Row]:
    def base(compress: str) -> Command:
        step = {
            "id": "base",
            "uses": "postgres.basebackup",
            "on": "db",
            "with_": f"{{to: backups, compress: {compress}}}",
        }
        return bench.ours(f"base-{compress}", step)

    copy = "pg_basebackup -D - -Ft -X fetch -c fast"
    has_zstd = int(str(bench.server.run("SHOW server_version_num")[0][0])) >= 150_000 and shutil.which("zstd")
    fast = "pg_basebackup -D bare.base -Ft -X fetch -c fast --compress=server-zstd:1"
    parts: dict[str, list[dict[str, float]]] = {"zstd": [], "none": []}

    def noted(compress: str) -> Callable[[], Cost]:
        command = base(compress)

        def run() -> Cost:
            cost = command()
            parts[compress].append(bench.spent())
            return cost

        return run

    ways: dict[str, Callable[[], Cost]] = {"zstd": noted("zstd"), "server-zstd": bench.bare(fast)} if has_zstd else {}
    found = in_turns(
        {
            **ways,
            "none": noted("none"),
            "bare none": bench.bare(f"{copy} > bare.tar"),
            "bare none synced": bench.bare(f"{copy} > bare.tar; sync bare.tar"),
        },
        bench.rounds,
    )
    found |= in_turns(
        {
            "gzip": base("gzip"),
            "bare gzip": bench.bare(f"{copy} | gzip -1 > bare.tar.gz"),
            "guide": bench.bare("pg_basebackup -D bare.base -Ft -z -c fast"),
        },
        1,
    )
    if has_zstd:
        others: dict[str, tuple[str, float | None]] = {"server-zstd": ("server-zstd:1", 1.05)}
        yield from _beside("base backup, zstd", {"ours": found["zstd"], **found}, others)
        # the guide's once, and ours against it in the middle
        ours = [median(c.wall_s for c in found["zstd"])]
        guide = [c.wall_s for c in found["guide"]]
        yield Row(
            "base backup, zstd: wall", s(ours[0]), f"pg_basebackup -Ft -z {s(guide[0])}", ratios(ours, guide), 0.12
        )
        yield _apart("base backup, zstd", parts["zstd"])
    bare: dict[str, tuple[str, float | None]] = {
        "bare none": (copy, 1.05),
        "bare none synced": ("the same, synced", 1.05),
    }
    yield from _beside("base backup, uncompressed", {"ours": found["none"], **found}, bare)
    yield _apart("base backup, uncompressed", parts["none"])
    yield from _beside(
        "base backup, gzip", {"ours": found["gzip"], **found}, {"bare gzip": ("the same through gzip -1", 1.05)}
    )


PARTS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {"dump": _dumped, "restore": _restored, "base": _copied}
"""The table's parts; ``restore`` needs the dumps of ``dump``."""


def _pick() -> dict[str, str]:
    return {"id": "pick", "uses": "backup.select", "on": "backups", "with_": "{pattern: '*.dump'}"}


def _beside(what: str, found: dict[str, list[Cost]], others: dict[str, tuple[str, float | None]]) -> Iterator[Row]:
    ours = [c.wall_s for c in found["ours"]]
    for side, (label, goal) in others.items():
        other = [c.wall_s for c in found[side]]
        yield Row(f"{what}: wall", s(median(ours)), f"{label} {s(median(other))}", ratios(ours, other), goal)


def _apart(what: str, parts: list[dict[str, float]]) -> Row:
    """Where the time of a run went, by operation; those that took longest."""
    middle = {name: median(part[name] for part in parts) for name in parts[0]}
    longest = sorted(middle.items(), key=lambda item: -item[1])[:6]
    return Row(f"  of the {what}", ", ".join(f"{name} {s(spent)}" for name, spent in longest), "")
