"""The terminal of the commands' tests, for values that mean more than themselves."""

from __future__ import annotations

from tests.cli.conftest import runbook

__all__ = ["runbook"]
