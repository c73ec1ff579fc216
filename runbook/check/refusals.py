"""Refusals of a model: each at the place in the written value that it is about, one branch of a union alone.

Owns the reading of pydantic's error locations. Promises: a fault below a template is known as open; of a union's branches the one
is kept that fits best, so that a mistake in one form isn't told once for every other form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import ErrorDetails, InitErrorDetails

from runbook.operation import Json
from runbook.plan.compose import holds_template
from runbook.plan.marks import Path

_ABOUT_KEYS = ("missing", "extra_forbidden")


@dataclass(frozen=True, slots=True)
class Spotted:
    """An error, and its path in the written value. ``union`` is the path at which a union begins, ``branch`` its name there.

    ``open``: a template's value, once it is known, may make it right.
    """

    error: ErrorDetails
    path: Path
    open: bool
    union: Path | None = None
    branch: str = ""

    def again(self) -> InitErrorDetails:
        """The error with its own path alone, to be raised anew; its input is left behind."""
        again = InitErrorDetails(type=self.error["type"], loc=self.path, input=None)
        if "ctx" in self.error:
            again["ctx"] = self.error["ctx"]
        return again


def spot(error: ErrorDetails, tree: Json) -> Spotted:
    """Where in ``tree`` the error is."""
    loc = error["loc"]
    about_key = error["type"] in _ABOUT_KEYS or loc[-1] == "[key]"
    path: list[str | int] = []
    union, branch, open_ = None, "", False
    here: Json = tree
    for part in loc[:-1] if about_key else loc:
        if isinstance(here, dict) and part in here:
            here = here[str(part)]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            if union is None:
                union, branch = tuple(path), str(part)
            open_ = open_ or holds_template(here)
            continue
        path.append(part)
    open_ = open_ or (not about_key and holds_template(here))
    return Spotted(error, (*path, *(loc[-1:] if about_key else ())), open_, union, branch)


def likeliest(found: Iterable[Spotted]) -> list[Spotted]:
    """The errors, in order; of each union only those of the branch that has the fewest (the last of equals)."""
    listed = list(found)
    counts: dict[Path, dict[str, int]] = {}
    for each in listed:
        if each.union is not None:
            branches = counts.setdefault(each.union, {})
            branches[each.branch] = branches.get(each.branch, 0) + 1
    best = {union: min(reversed(branches), key=branches.__getitem__) for union, branches in counts.items()}
    return [each for each in listed if each.union is None or best[each.union] == each.branch]
