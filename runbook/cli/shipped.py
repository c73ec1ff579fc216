"""Where the plans are that come with runbook.

Owns the lookup: inside the package in a wheel, in the folder ``plans`` beside it in a checkout.
"""

from __future__ import annotations

from pathlib import Path

from runbook.errors import Bug

_PACKAGE = Path(__file__).resolve().parents[1]
_PLACES = (_PACKAGE / "shipped" / "plans", _PACKAGE.parent / "plans")


def shipped_plan(name: str) -> Path:
    """The file of the shipped plan ``name`` (``restore-db``)."""
    for place in _PLACES:
        path = place / f"{name}.yaml"
        if path.is_file():
            return path
    raise Bug(f"the plan {name} did not come with this installation; looked in {', '.join(map(str, _PLACES))}")
