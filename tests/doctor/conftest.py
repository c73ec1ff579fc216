"""The terminal of the commands' tests, for what is told through the command."""

from __future__ import annotations

from tests.cli.conftest import runbook

__all__ = ["runbook"]
