"""http.check against a web server of the standard library: right answers, wrong ones, late ones, none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from runbook.action import CheckFailed, Done, Look, NoFacts
from runbook.actions.http import Check, CheckInputs
from runbook.operation import Operations, Scalar, changes
from runbook.paste import paste
from runbook.system import Web
from tests.actions.backups import scope
from tests.actions.harness import Stage, StepFailed
from tests.fixtures.patience import LONGER_S

SITE = Web.model_validate(
    {
        "type": "web",
        "url": "https://civicq.org/app/",
        "headers": {"x-probe": "1", "authorization": {"env": "SITE_TOKEN"}},
        "key": "site",
    }
)


def planned(**written: object) -> Operations:
    """The operations of a step with these inputs."""
    return Check().plan(SITE, CheckInputs.model_validate(written), NoFacts(), scope(SITE))


def test_one_line_shows_what_is_asked() -> None:
    [ask] = planned(path="/api/health?deep=1")
    assert not changes(ask)
    assert paste(ask) == (
        "curl -sS -X GET -H 'x-probe: 1' -H 'authorization: '\"$SITE_TOKEN\" -- 'https://civicq.org/app/api/health?deep=1'"
        "  # expected: status is 200"
    )


def test_one_line_shows_how_long_it_is_asked() -> None:
    [ask] = planned(status=404, body_contains="gone", within="1m")
    shown = "status is 404 and body contains gone"
    assert paste(ask).endswith(f"# expected: {shown}  # repeat every 2.0s, for at most 1m 00s, until {shown}")


@pytest.mark.parametrize(
    "written", [{"path": "health"}, {"path": "/a b"}, {"path": "/a\nb"}, {"status": 99}, {"within": "a while"}]
)
def test_wrong_inputs(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CheckInputs.model_validate(written)


@pytest.mark.parametrize(
    ("body", "wanted", "said"),
    [
        ("not JSON", {"a": 1}, "found: no JSON"),
        ("[1]", {"a": 1}, "found: other JSON"),
        ("{}", {"a": None}, "a is null; found: no such field"),
        ('{"a": 1}', {"a": True}, "a is true; found: 1"),
        ('{"a": "1"}', {"a": 1}, 'a is 1; found: "1"'),
        ('{"a": {"b": 1}}', {"a": {"b": 2}}, 'a is {"b": 2}; found: {"b": 1}'),
    ],
)
def test_fields_that_differ_are_named(look: Look, body: str, wanted: dict[str, Any], said: str) -> None:
    answer: dict[str, Scalar] = {"status": 200, "body": body, "elapsed_s": 0.1}
    with pytest.raises(CheckFailed) as raised:
        Check().verify(look, SITE, CheckInputs(fields=wanted), Done(NoFacts(), {"ask": answer}))
    assert said in raised.value.problems[0].detail
    assert f"It answered 200: {body!r}" in raised.value.problems[0].detail


@dataclass
class Site:
    """A web server; ``answers`` are given in turn, the last one for ever. ``asked`` are the paths and the token of each request."""

    answers: list[tuple[int, str]]
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def system(self) -> Web:
        """The site as an environment names it."""
        headers = {"x-token": {"env": "RUNBOOK_TEST_TOKEN"}}
        return Web.model_validate({"type": "web", "url": f"http://127.0.0.1:{self.port}", "headers": headers})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server on a free port that answers 200, ok."""
    site = Site([(200, "ok")])
    monkeypatch.setenv("RUNBOOK_TEST_TOKEN", "a token of some length")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers.get("x-token", "")))
            status, body = site.answers.pop(0) if len(site.answers) > 1 else site.answers[0]
            self.send_response(status)
            if status == 302:
                self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Nothing goes to standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def test_a_right_answer(stage: Stage, site: Site) -> None:
    site.answers = [(200, json.dumps({"database": "ok", "queue": 3, "more": [1]}))]
    found = stage.live(Check(), site.system, path="/api/health", fields={"database": "ok", "queue": 3.0})
    assert found.status == 200
    assert json.loads(found.body)["more"] == [1]
    assert site.asked == [("/api/health", "a token of some length")]


def test_a_long_body_is_cut(stage: Stage, site: Site) -> None:
    site.answers = [(200, "x" * 100_000)]
    assert len(stage.live(Check(), site.system).body) == 2_000


@pytest.mark.parametrize(("status", "body"), [(503, "the pool is exhausted"), (302, "moved")])
def test_a_wrong_status_is_shown_with_the_body(stage: Stage, site: Site, status: int, body: str) -> None:
    site.answers = [(status, body + "." * 500)]
    with pytest.raises(StepFailed) as raised:
        stage.live(Check(), site.system, path="/health")
    text = str(raised.value)
    assert f"expected: status is 200; found: {status}" in text
    assert body in text
    assert "." * 201 not in text
    assert "a token of some length" not in text
    assert [path for path, _ in site.asked] == ["/health"], "a redirect is not followed"


@pytest.mark.parametrize("status", [302, 404, 503])
@pytest.mark.parametrize("within", ["0s", "60s"])
def test_a_bad_status_may_be_what_is_wanted(stage: Stage, site: Site, status: int, within: str) -> None:
    site.answers = [(status, "")]
    assert stage.live(Check(), site.system, status=status, within=within).status == status


def test_text_that_is_missing(stage: Stage, site: Site) -> None:
    with pytest.raises(StepFailed, match="body contains ready; found: ok"):
        stage.live(Check(), site.system, body_contains="ready")


def test_it_is_asked_again_within_its_time(stage: Stage, site: Site) -> None:
    site.answers = [(503, "starting"), (200, "ready")]
    assert stage.live(Check(), site.system, body_contains="ready", within="60s").body == "ready"
    assert len(site.asked) == 2


def test_time_is_bounded(stage: Stage, site: Site) -> None:
    site.answers = [(503, "starting")]
    for limit_s in LONGER_S:  # what is left of it for the last look may be too little for an answer
        with pytest.raises(StepFailed) as raised:
            stage.live(Check(), site.system, within=f"{limit_s * 1000:.0f}ms")
        if "starting" in str(raised.value):
            return
    pytest.fail(str(raised.value))


def test_nobody_answers(stage: Stage) -> None:
    closed = Web.model_validate({"type": "web", "url": "http://127.0.0.1:1"})
    with pytest.raises(StepFailed, match="no answer came"):
        stage.live(Check(), closed)
