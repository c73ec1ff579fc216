"""Moments that have to lie in the past: when an accident was, which backup is wanted.

Owns :data:`PastMoment`, the type of such an input, and :func:`ahead`, which says what is wrong with one that hasn't come yet. Pure:
it is told what the clock says. Promises: a clock that is a little behind, or a minute that was rounded up, is no fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias, get_args

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from runbook.action import Inputs
from runbook.errors import Problem
from runbook.operation import Json

LEEWAY = timedelta(minutes=1)
"""How far two clocks may differ, and how far a person may round up."""


@dataclass(frozen=True, slots=True)
class Past:
    """Marks an input's type: the moment is one that has been."""


PastMoment: TypeAlias = Annotated[AwareDatetime, Past()]
"""An instant with a zone that must not be later than the run's beginning."""

_INSTANT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


def ahead(name: str, moment: datetime, now: datetime, *, option: str = "") -> Problem | None:
    """What is wrong with a moment that is later than ``now``, the clock at the run's beginning; None where nothing is.

    ``name`` is what the moment is called, ``option`` how another one is given on the command line.
    """
    if moment <= now + LEEWAY:
        return None
    return Problem(
        "E672",
        "the moment is in the future",
        f"{name} is {_shown(moment)}; the run's beginning, by this machine's clock, is {_shown(now)}.\n"
        "A backup from before a moment that is still to come may hold the damage already.",
        f"give the moment as it was, with its zone{f': {option}' if option else ''}; if the clock is wrong (date -u), set it first",
    )


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def past_fields(inputs: type[Inputs]) -> tuple[str, ...]:
    """The fields that hold a moment of the past."""
    fields = inputs.model_fields.items()
    return tuple(name for name, field in fields if _marked((*field.metadata, field.annotation)))


def _marked(parts: tuple[object, ...]) -> bool:
    return any(
        isinstance(part, Past) or _marked((*getattr(part, "__metadata__", ()), *get_args(part))) for part in parts
    )


def read_moment(values: Mapping[str, Json], name: str) -> datetime | None:
    """The moment that is written there; None where there is none yet, or something else, which others will say."""
    value = values.get(name)
    if not isinstance(value, str):
        return None
    try:
        return _INSTANT.validate_python(value)
    except ValidationError:
        return None
