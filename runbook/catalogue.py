"""The catalogue: finds the actions, by name, as late as can be.

Owns :data:`CATALOGUE`, a mapping from names (``postgres.restore``) to actions. An action is found by where its class stands: a
new file below ``runbook/actions`` is in the catalogue without being listed anywhere. Looking one up loads its module alone;
iterating loads them all.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from runbook import actions
from runbook.action import Action

AnyAction = Action[Any, Any, Any, Any]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}(?:\.[a-z][a-z0-9_]{0,62}){0,3}")
"""What may be looked for as a file: what a plan says that it uses may be any text."""


class Catalogue(Mapping[str, AnyAction]):
    """All actions by name. ``KeyError`` for a name that isn't there."""

    def __init__(self) -> None:
        self._found: dict[str, AnyAction] = {}

    def __getitem__(self, name: str) -> AnyAction:
        if name not in self._found:
            self._look_near(name)
        return self._found[name] if name in self._found else self._all[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._found or self._near(name) or name in self._all)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _all(self) -> Mapping[str, AnyAction]:
        for module in pkgutil.walk_packages(actions.__path__, f"{actions.__name__}."):
            self._take(import_module(module.name))
        return self._found

    def _near(self, name: str) -> bool:
        self._look_near(name)
        return name in self._found

    def _look_near(self, name: str) -> None:
        """Load the module that the name points at: the file of its own name, that of its folder, or the one with its class."""
        if not _NAME.fullmatch(name):
            return
        parts = name.split(".")
        for path in (name, parts[0], f"{parts[0]}.{_file_of(parts)}"):
            full = f"{actions.__name__}.{path}"
            if name not in self._found and _exists(full):
                self._take(import_module(full))

    def _take(self, module: ModuleType) -> None:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Action) and kind.__module__ == module.__name__:
                self._found[kind.name] = kind()


def _file_of(parts: list[str]) -> str:
    """The file of the folder whose text has the class of that name: ``assert`` is a word of Python's, and no file's name."""
    declared = f"\nclass {''.join(word.capitalize() for word in parts[-1].split('_'))}(Action["
    for place in actions.__path__:
        for file in sorted(Path(place, parts[0]).glob("*.py")):
            if declared in file.read_text(encoding="utf-8"):
                return file.stem
    return ""


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


CATALOGUE = Catalogue()
