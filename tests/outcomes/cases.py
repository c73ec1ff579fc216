"""All cases, group by group."""

from __future__ import annotations

from tests.outcomes.case import Case, Refusal
from tests.outcomes.endings import ENDINGS
from tests.outcomes.failures import FAILURES
from tests.outcomes.holds import HOLDS
from tests.outcomes.people import PEOPLE
from tests.outcomes.retries import RETRIES
from tests.outcomes.skips import SKIPS
from tests.outcomes.unknowns import UNKNOWNS

GROUPS = (SKIPS, FAILURES, UNKNOWNS, RETRIES, HOLDS, ENDINGS, PEOPLE)
CASES: dict[str, Case] = {
    name: case for group in GROUPS for name, case in group.cases.items() if isinstance(case, Case)
}
REFUSALS: dict[str, Refusal] = {
    name: case for group in GROUPS for name, case in group.cases.items() if isinstance(case, Refusal)
}
