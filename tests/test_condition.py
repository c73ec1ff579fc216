"""Conditions: every test over every kind of value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.condition import explain, failing, holds, show
from runbook.errors import Bug
from runbook.operation import Condition, Ref, Scalar, Test

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@pytest.mark.parametrize(
    ("test", "found", "wanted", "expected"),
    [
        (Test.EQUALS, "a", "a", True),
        (Test.EQUALS, "a", "A", False),
        (Test.EQUALS, 5, "5", True),
        (Test.EQUALS, "5.0", 5, True),
        (Test.EQUALS, "5.0", "5", False),
        (Test.EQUALS, True, "true", True),
        (Test.EQUALS, True, 1, False),
        (Test.EQUALS, None, None, True),
        (Test.EQUALS, None, "", False),
        (Test.DIFFERS, 1, 2, True),
        (Test.DIFFERS, 1, 1.0, False),
        (Test.AT_LEAST, 3, 3, True),
        (Test.AT_LEAST, 2, 3, False),
        (Test.AT_LEAST, "12345678901234567890", 12345678901234567889, True),
        (Test.AT_LEAST, True, 1, False),
        (Test.AT_LEAST, "many", 1, False),
        (Test.AT_LEAST, None, 0, False),
        (Test.AT_MOST, 0.1, 0.1, True),
        (Test.AT_MOST, float("nan"), 1, False),
        (Test.CONTAINS, "all is well", "well", True),
        (Test.CONTAINS, 5, "5", False),
        (Test.ONE_OF, "b", "a\nb", True),
        (Test.ONE_OF, 200, "200\n204", True),
        (Test.ONE_OF, "c", "a\nb", False),
    ],
)
def test_each_test(test: Test, found: Scalar, wanted: Scalar, expected: bool) -> None:
    assert holds(Condition("f", test, wanted), {"f": found}) is expected


def test_a_missing_field_does_not_hold_not_even_differs() -> None:
    condition = Condition("state", Test.DIFFERS, "running")
    assert not holds(condition, {})
    assert "no field 'state'" in explain(condition, {})


def test_a_late_value_is_filled_from_earlier_results() -> None:
    condition = Condition("rows", Test.EQUALS, Ref("count", "n"))
    assert holds(condition, {"rows": 7}, {"count": {"n": 7}})
    assert show(condition) == "rows is <count.n>"
    with pytest.raises(Bug):
        holds(condition, {"rows": 7}, {})


def test_failing_keeps_the_order_and_explain_shows_what_was_found() -> None:
    one, two = Condition("a", Test.AT_LEAST, 1), Condition("b", Test.EQUALS, "x")
    assert failing((one, two), {"a": 0, "b": "y"}) == (one, two)
    assert explain(one, {"a": 0}) == "expected: a is at least 1; found: 0"


@given(test=st.sampled_from(Test), found=SCALARS, wanted=SCALARS)
def test_it_is_total(test: Test, found: Scalar, wanted: Scalar) -> None:
    assert holds(Condition("f", test, wanted), {"f": found}) in (True, False)
