"""A terminal for the cases that the program itself carries out."""

from __future__ import annotations

from tests.cli.conftest import runbook

__all__ = ["runbook"]
