"""A copy of the checkout with a Python of its own, to be mutated: every process that starts from it imports the copy.

The tests, the program (`python -m runbook.cli` and the `runbook` script), the supervisor and the worker's script are all found from
there, whatever working directory and environment a test gives them; the installed libraries are those of this Python.
"""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("runbook", "tests", "plans", "docs", "schemas", "benchmarks", "pyproject.toml", "README.md", "Makefile")
_SCRIPT = "#!{python}\nimport sys\n\nfrom runbook.cli.main import main\n\nsys.exit(main())\n"


@contextmanager
def copied() -> Iterator[tuple[Path, Path]]:
    """A copy and its Python's path. It is gone afterwards. Other accounts may read it: some tests run as a server's."""
    folder = Path(tempfile.mkdtemp(prefix="runbook-mutated-")).resolve()
    try:
        folder.chmod(0o755)
        for name in COPIED:
            entry = ROOT / name
            if entry.is_dir():
                shutil.copytree(entry, folder / name)  # with times and kept bytecode: nothing is compiled anew
            else:
                shutil.copy2(entry, folder / name)
        yield folder, _python(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _python(folder: Path) -> Path:
    """A virtual environment in the copy: its modules first, then this Python's libraries without their way to this checkout."""
    place = folder / ".venv"
    venv.EnvBuilder(symlinks=True).create(place)
    libraries = next(place.glob("lib/python*/site-packages"))
    for name in ("purelib", "platlib"):
        for entry in Path(sysconfig.get_path(name)).iterdir():
            ours = entry.name == "runbook" or (entry.suffix == ".pth" and str(ROOT) in entry.read_text())
            if not ours and not (libraries / entry.name).exists():
                (libraries / entry.name).symlink_to(entry)
    (libraries / "checkout.pth").write_text(f"{folder}\n")
    python = place / "bin" / "python"
    script = python.with_name("runbook")
    script.write_text(_SCRIPT.format(python=python))
    script.chmod(0o755)
    for entry in Path(sysconfig.get_path("scripts")).iterdir():  # servers that came with the libraries
        if not (python.parent / entry.name).exists():
            (python.parent / entry.name).symlink_to(entry)
    return python
