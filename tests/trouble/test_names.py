"""Names that can not be resolved: before anything has begun, and in the middle of a restore."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.evidence.program import Program
from tests.faults.house import RESTORE
from tests.trouble.names import Answers, NameServer
from tests.trouble.night import DONE, FAILED, WAITS, Night
from tests.trouble.places import elsewhere

pytestmark = pytest.mark.root
NAME = "db.night.test"
SITE = """\
runbook: 1
name: answers
systems: {site: web}
environment: {environment: here, systems: {site: {type: web, url: "http://site.night.test:PORT"}}}
steps:
  - {id: answers, title: It answers, uses: http.check, on: site, with: {status: 200}, timeout: 20s}
"""


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as made:
        yield made


def by_name(night: Night, names: NameServer) -> None:
    """The program reaches the server by its name, which our name server alone knows."""
    night.under = elsewhere({Path("/etc/resolv.conf"): names.configuration(night.folder / "resolv.conf")})
    night.address = NAME


def test_nobody_says_where_a_name_is_before_anything_has_begun(night: Night, names: NameServer) -> None:
    by_name(night, names)
    names.mode = Answers.NOTHING
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


def test_a_site_whose_name_is_not_there(names: NameServer, tmp_path: Path) -> None:
    site = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
    try:
        plan = tmp_path / "plan.yaml"
        plan.write_text(SITE.replace("PORT", str(site.server_address[1])))
        under = elsewhere({Path("/etc/resolv.conf"): names.configuration(tmp_path / "resolv.conf")})
        program = Program(tmp_path, {"NO_COLOR": "1"}, under=under)
        names.mode = Answers.NO_SUCH_NAME
        ran = program.run("apply", plan)
        assert ran.code == FAILED, ran.said
        assert "site.night.test" in ran.said
        assert "Name or service not known" in ran.said
        assert f"runbook resume {program.last}" in ran.said
        names.mode = Answers.ADDRESS
        resumed = program.run("resume", program.last)
        assert resumed.code == DONE, resumed.said
    finally:
        site.shutdown()
        site.server_close()
