"""Names that can not be resolved: before anything has begun, and in the middle of a restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.house import RESTORE
from tests.trouble.names import Answers, NameServer
from tests.trouble.night import DONE, FAILED, WAITS, Night
from tests.trouble.places import elsewhere

pytestmark = pytest.mark.root
NAME = "db.night.test"


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as made:
        yield made


def by_name(night: Night, names: NameServer) -> None:
    """The program reaches the server by its name, which our name server alone knows."""
    night.under = elsewhere({Path("/etc/resolv.conf"): names.configuration(night.folder / "resolv.conf")})
    night.address = NAME


@pytest.mark.parametrize("mode", [Answers.NO_SUCH_NAME, Answers.NOTHING], ids=lambda mode: mode.name)
def test_a_name_that_is_not_there_before_anything_has_begun(night: Night, names: NameServer, mode: Answers) -> None:
    by_name(night, names)
    names.mode = mode
    live = night.oid()
    ended = night.end(night.begin(RESTORE))
    assert ended.code == FAILED, ended.said
    night.tells(ended, NAME, status="failed")
    assert not night.program.changed_anything()
    night.untouched(live)
    names.mode = Answers.ADDRESS
    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    night.restored(live)


def test_a_name_that_goes_in_the_middle_of_a_restore(night: Night, names: NameServer) -> None:
    by_name(night, names)
    live = night.oid()
    with night.restoring() as engine:
        names.mode = Answers.NOTHING
        night.open()
        ended = night.end(engine)
    assert ended.code == FAILED, ended.said
    night.tells(ended, NAME, status="failed")
    night.untouched(live)
    early = night.resume()
    assert early.code == WAITS, early.said
    night.tells(early, NAME, status="unknown")
    names.mode = Answers.ADDRESS
    resumed = night.resume()
    assert resumed.code == DONE, resumed.said
    night.restored(live)
