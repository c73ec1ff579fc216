"""The rows: faults (F), holds and guards (H), bad inputs (B) and threats (T), each with what is tried and what makes it hold."""

from __future__ import annotations

from tests.matrix.bad_files import BAD_FILES
from tests.matrix.bad_values import BAD_VALUES, LITERAL
from tests.matrix.excluding import EXCLUDING
from tests.matrix.guards import GUARDS
from tests.matrix.inputs import INPUTS, THREATS
from tests.matrix.kills import KILLS
from tests.matrix.of_the_world import OF_THE_WORLD
from tests.matrix.outcomes import OUTCOMES
from tests.matrix.records import RECORDS
from tests.matrix.relied_on import RELIED_ON
from tests.matrix.secrets import SECRETS

ROWS = (
    *RECORDS,
    *KILLS,
    *EXCLUDING,
    *RELIED_ON,
    *OF_THE_WORLD,
    *GUARDS,
    *OUTCOMES,
    *BAD_FILES,
    *BAD_VALUES,
    *INPUTS,
    *LITERAL,
    *THREATS,
    *SECRETS,
)
