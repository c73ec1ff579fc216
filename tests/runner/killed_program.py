"""The real program on a small plan, to be killed: its processes by what they wrote, never by name.

Owns :class:`Program`. Every step leaves its mark in a ledger outside the run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from runbook.journal.layout import runs
from runbook.operation import Json
from runbook.transports.supervisor import processes
from tests.cli.written import plan, shell
from tests.fixtures.patience import PATIENCE_S as PATIENCE_S  # those who kill programs have it from here
from tests.fixtures.patience import eventually as eventually
from tests.fixtures.process import works_in


@dataclass
class Program:
    """A plan below ``directory``, its state, its ledger, and the processes that it was run by. ``under``: what runs the program."""

    directory: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    under: tuple[str, ...] = ()

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def ledger(self) -> Path:
        """Where steps leave their marks."""
        return self.directory / "ledger"

    def marks(self) -> list[str]:
        """What was left in the ledger."""
        return self.ledger.read_text().split() if self.ledger.exists() else []

    @property
    def waits(self) -> str:
        """A script that goes on after :meth:`go`, or ends with what started it: time enough, on any machine, to kill somebody."""
        return f"until [ -e {self.directory}/go ]; do sleep 0.05; done"

    def go(self) -> None:
        """Let scripts that wait go on."""
        (self.directory / "go").touch()

    def step(self, name: str, script: str = "", **more: Json) -> dict[str, Json]:
        """A step that leaves its name in the ledger, then does what the script says."""
        return shell(name, f"echo {name} >> {self.ledger}; {script or 'true'}", **more)  # type: ignore[arg-type]

    def write(self, *steps: dict[str, Json]) -> str:
        """A plan of these steps; gives its path."""
        return plan(self.directory, *steps)

    def start(self, *arguments: str, crash: str = "") -> subprocess.Popen[str]:
        """``runbook ARGUMENTS`` as a process of its own."""
        environment = {**os.environ, "NO_COLOR": "1"} | ({"RUNBOOK_CRASH": crash} if crash else {})
        argv = [*self.under, sys.executable, "-m", "runbook.cli", *arguments, "--state", str(self.state)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=self.directory
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str, crash: str = "") -> int:
        """The same, to its end; gives the exit code."""
        process = self.start(*arguments, crash=crash)
        process.communicate(timeout=PATIENCE_S)
        return process.returncode

    def run_directory(self) -> Path:
        """The youngest run; two quick ones can begin within the second that their names begin with."""
        return runs(self.state)[-1].path

    def statuses(self) -> dict[str, str]:
        """The steps' statuses, as ``runbook show`` tells them."""
        process = self.start("show", "--json")
        out, told = process.communicate(timeout=PATIENCE_S)
        assert out, told
        return {step["id"]: step["status"] for step in json.loads(out)["steps"]}

    def pids(self) -> tuple[list[int], list[int]]:
        """Supervisors and children of the youngest run, by the supervisor's own records."""
        supervisors: list[int] = []
        children: list[int] = []
        for line in self._records():
            record = json.loads(line)
            if record["event"] == "opened":
                supervisors.append(record["pid"])
            if record["event"] == "pids":
                children += [process["pid"] for process in record["processes"]]
        return supervisors, children

    def recorded(self) -> bool:
        """Whether the supervisor has noted the processes of all that it started: a mark may be there sooner."""
        events = [json.loads(line)["event"] for line in self._records() if line.endswith("}")]
        return events.count("start") == events.count("pids") > 0

    def _records(self) -> list[str]:
        return (self.run_directory() / "supervisor.jsonl").read_text().splitlines()

    def kill_everything(self) -> None:
        """The engine, its supervisor, and the children with their groups: at once, as a machine dies."""
        supervisors, children = self.pids()
        for process in self.running:
            process.kill()
        for pid in (*supervisors, *children):
            _kill(pid)
        for pid in children:
            _kill(pid, group=True)
        for process in self.running:
            process.wait(PATIENCE_S)
        eventually(lambda: not any(map(alive, (*supervisors, *children))))

    def close(self) -> None:
        """End what is left."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=PATIENCE_S)
        for run in (self.state / "runs").glob("*") if (self.state / "runs").exists() else ():
            for pid in works_in(run.resolve()):  # supervisors, and what they started; never who has got a number anew
                _kill(pid)


def _kill(pid: int, *, group: bool = False) -> None:
    try:
        os.killpg(pid, signal.SIGKILL) if group else os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def alive(pid: int) -> bool:
    """Whether a process of that pid lives."""
    facts = processes.look(pid)
    return facts is not None and facts.lives


def processes_with(word: str) -> list[int]:
    """The pids of processes that have a word in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if word in words:
            found.append(int(entry.name))
    return found
