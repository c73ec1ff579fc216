"""What a run gave: the plan's outputs, told to the person who ran it.

Owns the lines. Pure: values in, lines out. Promises: what never came to be is left out, and a long list ends with a word about
its rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbook.operation import Json
from runbook.report.line import Line
from runbook.units import show_duration

MOST = 12


def as_lines(results: Mapping[str, Json]) -> tuple[Line, ...]:
    """One line a value, or a heading with what is below it. Names that end in ``_s`` are seconds."""
    return tuple(line for name, value in results.items() for line in _lines(name, value))


def _lines(name: str, value: Json) -> Iterator[Line]:
    if value is None or value == "":
        return
    if isinstance(value, int | float) and not isinstance(value, bool) and name.endswith("_s"):
        yield Line("=", f"{name.removesuffix('_s')}: {show_duration(value)}")
        return
    below = _below(value)
    if below is None:
        yield Line("=", f"{name}: {_short(value)}")
        return
    yield Line("=", f"{name}:" if below else f"{name}: none")
    yield from (Line("   ", text) for text in below[:MOST])
    if len(below) > MOST:
        yield Line("   ", f"… and {len(below) - MOST} more: runbook show --json")


def _below(value: Json) -> list[str] | None:
    """The lines of what takes more than one; None for what doesn't."""
    if isinstance(value, str):
        lines = [line for line in value.splitlines() if line.strip()]
        return lines if len(lines) > 1 else None
    if isinstance(value, list | tuple):
        return [_short(each) for each in value]
    return None


def _short(value: Json) -> str:
    """A value in one line; of a backup its name, and how well it is known."""
    match value:
        case bool():
            return "yes" if value else "no"
        case {"name": str(name), "url": str(), "proof": str(proof)}:
            return f"{name} ({proof})"
        case Mapping():
            return ", ".join(f"{key} {_short(each)}" for key, each in value.items() if each not in (None, "", [], {}))
        case list() | tuple():
            return ", ".join(_short(each) for each in value)
        case _:
            return str(value).strip()
