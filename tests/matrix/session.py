"""One run of pytest with the matrix's plugin: what it tells, as it tells it, and why it broke where it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.matrix.apart import TIMED_OUT
from tests.matrix.checkout import ROOT
from tests.matrix.plugin import RESULTS
from tests.matrix.row import widest

SHARED = ("-n", "5", "--dist", "loadfile", "--no-loadscope-reorder")
"""Most tests wait for servers: five workers, as in `make test`."""
LOOK_S = 0.2
USUAL_ENDS = (0, 1)
_GO_ON = ("--continue-on-collection-errors",)


class Broken(Exception):
    """Pytest did not come to its end, or could not read what it was to run; nothing can be said of the rows."""


@dataclass(frozen=True)
class Session:
    """Pytest from a checkout, with the Python of it. ``within_s``: what it leaves is ended, and so is it after these seconds."""

    checkout: Path = ROOT
    python: Path = field(default_factory=lambda: Path(sys.executable))
    within_s: float | None = None
    flags: tuple[str, ...] = ()

    def lines(self, nodes: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """What the plugin tells of these tests. :class:`Broken` where something can't be collected, or it ends oddly."""
        if not nodes:
            return
        with tempfile.TemporaryDirectory(prefix="runbook-matrix-") as place:
            told, printed = Path(place) / "told", Path(place) / "printed"
            told.touch()
            with printed.open("wb") as output:
                running = subprocess.Popen(
                    self._argv(nodes),
                    cwd=self.checkout,
                    env={**os.environ, **(environment or {}), RESULTS: str(told)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                yield from _followed(told, running)
            finally:
                running.terminate()
                running.wait()
            if running.returncode == TIMED_OUT and self.within_s is not None:
                raise Broken(f"it did not end within {self.within_s:.0f} seconds")
            if running.returncode not in USUAL_ENDS:
                tail = "\n  ".join(printed.read_text(errors="replace").splitlines()[-12:])
                raise Broken(f"pytest ended with exit code {running.returncode}:\n  {tail}")

    def _argv(self, nodes: Sequence[str]) -> list[str]:
        apart = ["-m", "tests.matrix.apart", str(self.within_s), str(self.python)] if self.within_s is not None else []
        plugin = ["-m", "pytest", "-q", "-p", "tests.matrix.plugin", "-p", "no:cacheprovider", *_GO_ON]
        return [str(self.python), *apart, *plugin, *self.flags, *widest(nodes)]


def _followed(told: Path, running: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    with told.open(encoding="utf-8") as file:
        text, ended = "", False
        while not ended:
            ended = running.poll() is not None
            *lines, text = (text + file.read()).split("\n")
            for line in lines:
                yield json.loads(line)
            if not ended:
                time.sleep(LOOK_S)
