"""The program as an operator has it: the installed console script, in a process of its own, with a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLANS = ROOT / "plans"
RUNBOOK = Path(sys.executable).with_name("runbook")
ENDS_WITHIN_S = 600.0
INHERITED = ("PATH", "HOME", "DOCKER_HOST", "LANG", "TZ", "TMPDIR")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return f"{self.stdout}\n{self.stderr}"

    @property
    def json(self) -> Any:
        """Its standard output as one JSON value."""
        return json.loads(self.stdout)


@dataclass
class Program:
    """`runbook`, in `folder`, with this environment. The state directory is `folder/state`."""

    folder: Path
    environment: Mapping[str, str]
    under: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """Where its runs are."""
        return self.folder / "state"

    def argv(self, *arguments: str | Path) -> list[str]:
        """The command as it is executed; `under` is what runs it (a tracer)."""
        command, *rest = (str(argument) for argument in arguments)
        return [*self.under, str(RUNBOOK), command, "--state", str(self.state), *rest]

    def run(self, *arguments: str | Path, within_s: float = ENDS_WITHIN_S) -> Ran:
        """Run a command to its end."""
        ended = subprocess.run(
            self.argv(*arguments),
            cwd=self.folder,
            env=self._env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        assert "This is a bug in runbook" not in ended.stderr, ended.stderr
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start a command; its output goes to `folder/output`."""
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                self.argv(*arguments),
                cwd=self.folder,
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _env(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {**inherited, **self.environment, **self.extra}

    # --- what it left on disk ---------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[str]:
        """The ids of its runs, oldest first."""
        folder = self.state / "runs"
        found = list(folder.iterdir()) if folder.is_dir() else []
        return [entry.name for entry in sorted(found, key=_begun)]

    @property
    def last(self) -> str:
        """The id of the newest run."""
        return self.runs[-1]

    def directory(self, run: str = "") -> Path:
        """A run's directory; default: the newest's."""
        return self.state / "runs" / (run or self.last)

    def events(self, run: str = "") -> list[dict[str, Any]]:
        """The journal's records that are whole."""
        return list(_lines(self.directory(run) / "journal.jsonl"))

    def finished(self, run: str = "") -> dict[str, Any]:
        """The last `run.finished` record."""
        return next(event for event in reversed(self.events(run)) if event["event"] == "run.finished")

    def outputs(self, step: str, run: str = "") -> dict[str, Any]:
        """What a step that succeeded gave."""
        found = [e for e in self.events(run) if e["event"] == "step.succeeded" and e["step"] == step]
        assert found, f"{step} did not succeed: {[e['event'] for e in self.events(run)]}"
        outputs: dict[str, Any] = found[-1]["outputs"]
        return outputs

    def changed_anything(self, run: str = "") -> bool:
        """Whether an operation that may change something was begun."""
        return any(event["event"] == "operation.started" and event["changes"] for event in self.events(run))


def _begun(run: Path) -> tuple[str, int]:
    """The second in its id, then the file system's finer time: two quick runs can begin within one second."""
    frozen = run / "frozen"
    return run.name[:15], frozen.stat().st_mtime_ns if frozen.exists() else 0


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else ():
        if line.endswith("\n") and line.startswith("{"):
            yield json.loads(line)
