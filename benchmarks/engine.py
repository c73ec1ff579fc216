"""What a step costs beside the same processes and synced appends without an engine, and commands beside ``python -c pass``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import chains
from benchmarks.cost import Command, Cost, Failed, Spread, in_turns, per_further, ratios
from benchmarks.table import Row, mib, ms, s

FEW = 10
"""Steps of the short chain, whose cost is taken off the long one's."""
DOIT = "doit==0.36.0"
PEERS = Path("build/bench/venv")
FLOORS = Path(__file__).with_name("floors.py")
_SYNC = re.compile(rb"\b(?:fdatasync|fsync)\(")


@dataclass(frozen=True, slots=True)
class Bench:
    """Where, how often, and with how many steps."""

    folder: Path
    rounds: int
    steps: int
    many: int

    def ours(self, *words: str | Path, env: dict[str, str] | None = None, code: int = 0) -> Command:
        """``runbook`` with these words and a state directory that is new each time."""
        program = Path(sys.executable).with_name("runbook")
        argv = (str(program), *map(str, words))
        return Command(argv, self.folder, env or {}, prepare=self.forget, code=code)

    def apply(self, plan: Path, *, at_once: int = 4) -> Command:
        """``runbook apply`` of a plan."""
        return self.ours("apply", plan, "--state", self.state, "--parallel", str(at_once))

    def floor(self, kind: str, steps: int, syncs: float) -> Command:
        """The floor of that kind."""
        return Command((sys.executable, "-I", "-S", str(FLOORS), kind, str(steps), f"{syncs:.3f}"), self.folder)

    @property
    def state(self) -> Path:
        """The state directory of what is measured."""
        return self.folder / "state"

    def forget(self) -> None:
        """Remove what the last run left."""
        shutil.rmtree(self.state, ignore_errors=True)


def measure(bench: Bench) -> Iterator[Row]:
    """Every row of the engine's table; one whose command fails says so and doesn't hide the others."""
    parts: tuple[Callable[[Bench], Iterator[Row]], ...] = (
        _commands, _validated, _dry_runs, _resumed, _chained, _at_once, _grown
    )  # fmt: skip
    for part in parts:
        try:
            yield from part(bench)
        except Failed as error:
            yield Row(part.__name__.strip("_"), "not measured", "", note=str(error).splitlines()[0])


def syncs_per_step(bench: Bench, plan: Callable[[Path, int], Path], *, at_once: int = 4) -> float:
    """How many appends of a further step are synced, counted by strace in the engine, its supervisor and all they start."""
    counted = []
    for steps in (FEW, 10 * FEW):
        bench.forget()
        trace = bench.folder / "trace"
        command = bench.apply(plan(bench.folder, steps), at_once=at_once)
        traced = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=fsync,fdatasync",
            "-o",
            str(trace),
            *command.argv,
        ]
        subprocess.run(traced, cwd=bench.folder, check=True, stdout=subprocess.DEVNULL)
        counted.append(len(_SYNC.findall(trace.read_bytes())))
    return (counted[1] - counted[0]) / (9 * FEW)


def _chained(bench: Bench) -> Iterator[Row]:
    """A chain, by the further step: against the loop, and against doit where that can be had."""
    syncs = syncs_per_step(bench, chains.chain)
    sizes = (FEW, bench.steps)
    sides = {f"ours {n}": bench.apply(chains.chain(bench.folder, n)) for n in sizes}
    sides |= {f"{kind} {n}": bench.floor(kind, n, syncs) for kind in ("loop", "bare") for n in sizes}
    if doit := _doit(bench):
        sides |= {f"doit {n}": doit(n) for n in sizes}
    found = in_turns(sides, bench.rounds)
    steps = bench.steps - FEW

    def further(side: str, what: Callable[[Cost], float]) -> list[float]:
        return per_further(
            [what(c) for c in found[f"{side} {bench.steps}"]], [what(c) for c in found[f"{side} {FEW}"]], steps
        )

    ours, loop = further("ours", _cpu), further("loop", _cpu)
    what, note = f"chain of {bench.steps}: CPU per further step", f"{syncs:g} syncs a step on both sides"
    yield Row(what, ms(median(ours)), f"loop {ms(median(loop))}", ratios(ours, loop), 2.0, note)
    bare = further("bare", _cpu)
    yield Row(
        "  beside posix_spawn alone", ms(median(ours)), ms(median(bare)), ratios(ours, bare), None, "nothing captured"
    )
    wall, loop_wall = further("ours", _wall), further("loop", _wall)
    yield Row("  the same, wall", ms(median(wall)), f"loop {ms(median(loop_wall))}", ratios(wall, loop_wall))
    if doit:
        peer = further("doit", _cpu)
        yield Row(
            "  CPU beside doit",
            ms(median(ours)),
            f"doit {ms(median(peer))}",
            ratios(ours, peer),
            1.0,
            "doit: no sync a step",
        )
    peak = [c.peak_bytes for c in found[f"ours {bench.steps}"]]
    yield _bounded(f"peak memory at {bench.steps} steps", peak, 60)


def _at_once(bench: Bench) -> Iterator[Row]:
    syncs = syncs_per_step(bench, chains.broad, at_once=8)
    ours = bench.apply(chains.broad(bench.folder, bench.steps), at_once=8)
    found = in_turns({"ours": ours, "pool": bench.floor("pool", bench.steps, syncs)}, bench.rounds)
    walls = {side: [c.wall_s for c in costs] for side, costs in found.items()}
    what, note = f"{bench.steps} independent steps, 8 at once: wall", f"{syncs:.1f} syncs a step on both sides"
    yield Row(
        what,
        s(median(walls["ours"])),
        f"pool {s(median(walls['pool']))}",
        ratios(walls["ours"], walls["pool"]),
        1.5,
        note,
    )


def _grown(bench: Bench) -> Iterator[Row]:
    sizes = (FEW, bench.steps, bench.many)
    sides = {str(n): bench.apply(chains.chain(bench.folder, n)) for n in sizes}
    found = in_turns(sides, max(1, bench.rounds // 2))
    short, few, many = (found[str(n)] for n in sizes)
    for what, of in (("CPU", _cpu), ("wall", _wall)):
        at_few = per_further([of(c) for c in few], [of(c) for c in short], bench.steps - FEW)
        at_many = per_further([of(c) for c in many], [of(c) for c in short], bench.many - FEW)
        label = f"growth: {what} per step, {bench.many} by {bench.steps} steps"
        yield Row(label, ms(median(at_many)), ms(median(at_few)), ratios(at_many, at_few), 1.2)
    memory = [[(a.peak_bytes - b.peak_bytes) / n for a, b in zip(long, short, strict=True)]
              for long, n in ((many, bench.many), (few, bench.steps))]  # fmt: skip
    shown = [f"{median(each) / 1024:.1f} KiB" for each in memory]
    yield Row("growth: memory per step", shown[0], shown[1], ratios(memory[0], memory[1]), 1.2)
    yield _bounded(f"peak memory at {bench.many} steps", [c.peak_bytes for c in many], 150)


def _dry_runs(bench: Bench) -> Iterator[Row]:
    bare = _bare(bench)
    for steps, goal in ((bench.steps, 0.5), (bench.many, 3.0)):
        found = in_turns(
            {"ours": bench.ours("plan", "--offline", chains.chain(bench.folder, steps)), "bare": bare}, bench.rounds
        )
        ours = [c.cpu_s for c in found["ours"]]
        note = f"goal {goal:g} s of CPU at {1000 if goal < 1 else 10000}; peak {mib(found['ours'][0].peak_bytes)}"
        yield Row(f"plan --offline of {steps}: CPU", s(median(ours)), _pass(found["bare"]), _beside(found), None, note)


def _resumed(bench: Bench) -> Iterator[Row]:
    """A run whose last step fails each time, after all the others were done: nothing but going on is measured."""
    plan = chains.failing(bench.folder, bench.steps, bench.folder / "never")
    first = bench.apply(plan)
    Command(first.argv, bench.folder, prepare=bench.forget, code=1)()
    run = next((bench.state / "runs").iterdir()).name
    program = first.argv[0]
    resume = Command((program, "resume", run, "--state", str(bench.state)), bench.folder, code=1)
    dry = Command((program, "apply", "--dry-run", str(plan), "--state", str(bench.state)), bench.folder)
    found = in_turns({"resume": resume, "dry": dry}, bench.rounds)
    ours, other = [c.cpu_s for c in found["resume"]], [c.cpu_s for c in found["dry"]]
    what = f"resume with {bench.steps} steps done: CPU"
    yield Row(what, s(median(ours)), f"dry-run {s(median(other))}", ratios(ours, other), 1.0, "one step is run again")
    bench.forget()


def _commands(bench: Bench) -> Iterator[Row]:
    completing = {"_RUNBOOK_COMPLETE": "bash_complete", "COMP_WORDS": "runbook re", "COMP_CWORD": "1"}
    sides = {
        "--help": bench.ours("--help"),
        "completion": bench.ours(env=completing),
        "runs": bench.ours("runs", "--state", bench.state),
    }
    for what, side in sides.items():
        try:
            found = in_turns({"ours": side, "bare": _bare(bench)}, 4 * bench.rounds)
        except Failed as error:
            yield Row(what, "not measured", "", note=str(error).splitlines()[0])
            continue
        yield Row(f"{what}: CPU", ms(median(map(_cpu, found["ours"]))), _pass(found["bare"]), _beside(found), 5.0)


def _validated(bench: Bench) -> Iterator[Row]:
    plan = chains.chain(bench.folder, 20)
    found = in_turns({"ours": bench.ours("validate", plan), "bare": _bare(bench)}, 2 * bench.rounds)
    yield Row(
        "validate of 20 steps: CPU", ms(median(map(_cpu, found["ours"]))), _pass(found["bare"]), _beside(found), 15.0
    )


def _bare(bench: Bench) -> Command:
    return Command((sys.executable, "-c", "pass"), bench.folder)


def _pass(bare: list[Cost]) -> str:
    return f"python -c pass {ms(median(map(_cpu, bare)))}"


def _beside(found: dict[str, list[Cost]]) -> Spread:
    return ratios([c.cpu_s for c in found["ours"]], [c.cpu_s for c in found["bare"]])


def _bounded(what: str, peaks: list[int], limit_mib: int) -> Row:
    spread = ratios(peaks, [limit_mib * 2**20] * len(peaks))
    return Row(what, mib(median(peaks)), f"limit {limit_mib} MiB", spread, 1.0)


def _doit(bench: Bench) -> Callable[[int], Command] | None:
    """The same chain by doit, in an environment of its own; None where it can't be installed."""
    venv = PEERS.absolute()
    program = venv / "bin" / "doit"
    if not program.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False, capture_output=True)
        if made.returncode == 0:
            subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", DOIT], check=False, capture_output=True)
    if not program.exists():
        return None

    def forget() -> None:
        for left in bench.folder.glob("doit.db*"):
            left.unlink()

    def side(steps: int) -> Command:
        file = chains.doit_file(bench.folder, steps)
        argv = (str(program), "-f", str(file), "--backend", "json", "--db-file", str(bench.folder / "doit.db"))
        return Command(argv, bench.folder, prepare=forget)

    return side


def _cpu(cost: Cost) -> float:
    return cost.cpu_s


def _wall(cost: Cost) -> float:
    return cost.wall_s
