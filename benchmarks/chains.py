"""The plans that the engine is measured with, and the same work for its peers: steps that run ``/bin/true``."""

from __future__ import annotations

from pathlib import Path

PROGRAM = "/bin/true"
_HEAD = "runbook: 1\nname: bench\ntitle: Steps that do nothing\nenvironment: {environment: bench}\nsteps:\n"


def chain(folder: Path, steps: int) -> Path:
    """A plan whose steps follow one another."""
    return _write(folder / f"chain-{steps}.yaml", steps, "")


def broad(folder: Path, steps: int) -> Path:
    """A plan of independent steps."""
    return _write(folder / f"broad-{steps}.yaml", steps, "    needs: []\n")


def failing(folder: Path, steps: int, gate: Path) -> Path:
    """A chain whose last step succeeds only once the file ``gate`` is there."""
    path = _write(folder / f"failing-{steps}.yaml", steps, "")
    last = "  - id: last\n    title: The last one\n    uses: shell.run\n"
    last += f"    with: {{argv: [/bin/cat, {gate}], interrupted: repeat}}\n    timeout: 1m\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(last)
    return path


def doit_file(folder: Path, steps: int) -> Path:
    """The same chain for doit."""
    path = folder / f"dodo_{steps}.py"
    path.write_text(
        "def task_step():\n"
        f"    for i in range({steps}):\n"
        f"        yield {{'name': str(i), 'actions': [['{PROGRAM}']], 'task_dep': [f'step:{{i - 1}}'] if i else []}}\n",
        encoding="utf-8",
    )
    return path


def _write(path: Path, steps: int, needs: str) -> Path:
    step = (
        "  - id: s{n}\n    title: Step {n}\n    uses: shell.run\n"
        + needs
        + f"    with: {{{{argv: [{PROGRAM}], interrupted: repeat}}}}\n    timeout: 1m\n"
    )
    path.write_text(_HEAD + "".join(step.format(n=n) for n in range(steps)), encoding="utf-8")
    return path
