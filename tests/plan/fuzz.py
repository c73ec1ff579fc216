"""Broken plans and environments, many of them: `python -m tests.plan.fuzz --seeds 0:50000`; one again: `--seed 713`.

A case holds if ``runbook validate`` and ``runbook graph`` end with an exit code of 0, 2, 3 or 4, say nothing of a bug or a
traceback, show no character that acts on a terminal, and give every problem a place within its file; and if it costs less than
two seconds of CPU, in a process that may have 300 MB more than it began with.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runbook.cli.main import run
from runbook.plan.text import escape
from tests.plan.mutations import PLANS, Case, case

CODES = frozenset((0, 2, 3, 4))
MOST_CPU_S = 2.0
MOST_BYTES = 300 * 1024 * 1024
PLACELESS = frozenset(("E199",))
"""The one problem that is about no place: how many more of a kind there are."""
CHUNK = 25
TELL_EVERY = 2000


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a case: its exit code, and what is wrong with that, if anything."""

    code: int
    faults: tuple[str, ...]
    cpu_s: float


def tried(given: Case, place: Path, *, most_cpu_s: float = MOST_CPU_S) -> Tried:
    """What came of one case, in this process; ``place`` is a folder of its own, which holds the shipped plans."""
    (place / "environments").mkdir(exist_ok=True)
    (place / "plan.yaml").write_bytes(given.plan)
    (place / "environments" / "tried.yaml").write_bytes(given.environment)
    plan, began = str(place / "plan.yaml"), time.process_time()
    code, out, err = said("validate", plan, "--env", "tried", "--json")
    drawn, picture, complaint = said("graph", plan, "--format", "svg")
    cpu_s = time.process_time() - began
    faults = [f"exit code {one}" for one in (code, drawn) if one not in CODES]
    faults += [f"says {word!r}" for word in ("Traceback", "E900", "bug in runbook") if word in err + complaint]
    faults += [f"{cpu_s:.1f} s of CPU"] if cpu_s > most_cpu_s else []
    if code in (0, 3) and out:
        faults += _misplaced(json.loads(out), given)
    shown = out + picture + err + complaint
    faults += ["shows characters that act on a terminal"] if escape(shown) != shown else []
    return Tried(code, tuple(faults), cpu_s)


def said(*arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, in this process, and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = run([*arguments])
        except BaseException:  # that nothing comes out here is what is tried
            traceback.print_exc()
            code = -1
    return code, out.getvalue(), err.getvalue()


def _misplaced(findings: Any, given: Case) -> Iterator[str]:
    """The problems whose place isn't in the file that they name."""
    files = PLANS | {"plan.yaml": given.plan, "tried.yaml": given.environment}
    for problem in findings["problems"]:
        if problem["file"] is None:
            if problem["code"] not in PLACELESS:
                yield f"{problem['code']} has no place: {problem['summary']}"
            continue
        lines = files[Path(problem["file"]).name].decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
        line, column = problem["line"], problem["column"]
        if not 1 <= line <= len(lines) or not 1 <= column <= len(escape(lines[line - 1])) + 1:
            yield f"{problem['code']} is outside of the file: {problem['file']}:{line}:{column}"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder with the shipped plans in it, for those that include one another."""
    with TemporaryDirectory(prefix="runbook-fuzz-") as name:
        for plan, raw in PLANS.items():
            (Path(name) / plan).write_bytes(raw)
        Path(name).chmod(0o700)
        yield Path(name)


def main(words: Sequence[str] | None = None) -> int:
    """Try the seeds that were asked for. Exit code 1: a case did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.plan.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, help="one case, with its files and what is said of them")
    parser.add_argument("--seeds", default="0:2000", metavar="FROM:TO", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="default: %(default)s")
    asked = parser.parse_args(words)
    if asked.seed is not None:
        return _told(asked.seed)
    first, _, last = asked.seeds.partition(":")
    return _many(range(int(first), int(last)), asked.workers)


def _many(seeds: range, workers: int) -> int:
    began, codes, cpu_s, worst, failures, cases = time.monotonic(), dict.fromkeys(sorted(CODES), 0), 0.0, 0.0, 0, 0
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    with get_context("fork").Pool(workers, _limit) as pool:
        for chunk, results in pool.imap(_chunk, chunks):
            for seed, one in zip(chunk, results, strict=True):
                cases, cpu_s, worst = cases + 1, cpu_s + one.cpu_s, max(worst, one.cpu_s)
                codes[one.code] = codes.get(one.code, 0) + 1
                if one.faults:
                    failures += 1
                    print(f"seed {seed}: {'; '.join(one.faults[:3])}\n  again: python -m tests.plan.fuzz --seed {seed}")
                if cases % TELL_EVERY == 0:
                    print(f"{cases:,} of {len(seeds):,} cases, {failures} failures", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    ended = ", ".join(f"{count:,} × {code}" for code, count in sorted(codes.items()))
    print(
        f"{cases:,} cases in {time.monotonic() - began:,.0f} s ({cpu_s:,.0f} s of CPU, at most {worst:.2f} s in one, at most"
        f" {peak} MB): exit codes {ended}; {failures} failures"
    )
    return int(failures > 0)


def _limit() -> None:
    """A process may have so much more than it began with."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _chunk(seeds: range) -> tuple[range, list[Tried]]:
    with folder() as place:
        return seeds, [tried(case(seed), place) for seed in seeds]


def _told(seed: int) -> int:
    given = case(seed)
    print(f"seed {seed}: {given.story}")
    with folder() as place:
        found = tried(given, place)
        for name in ("plan.yaml", "environments/tried.yaml"):
            print(f"--- {name}\n{escape((place / name).read_bytes().decode('utf-8', 'replace'))}")
        _, out, err = said("validate", str(place / "plan.yaml"), "--env", "tried")
        print(f"--- what is said\n{out}{err}")
    print("\n".join(found.faults) or f"held: exit code {found.code}, {found.cpu_s:.2f} s of CPU")
    return int(bool(found.faults))


if __name__ == "__main__":
    sys.exit(main())
