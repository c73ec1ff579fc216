"""The rows: faults (F), holds and guards (H), bad inputs (B) and threats (T), each with what is tried and what makes it hold."""

from __future__ import annotations

from tests.matrix.faults import FAULTS
from tests.matrix.inputs import INPUTS, THREATS

ROWS = (*FAULTS, *INPUTS, *THREATS)
