"""`python -m tests.outcomes` writes what every case shows, and docs/outcomes.md; a look at the difference is the review."""

from __future__ import annotations

from pathlib import Path

from tests.outcomes.cases import CASES
from tests.outcomes.page import once, page

GOLDEN = Path(__file__).parent / "golden"
PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"


def main() -> None:
    """Write them all anew; files of cases that are no more go."""
    for path in GOLDEN.glob("*.txt"):
        if path.stem not in CASES:
            path.unlink()
    for name in CASES:
        (GOLDEN / f"{name}.txt").write_text(once(name).pages, encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
