"""HTTP against a real server on this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from runbook.operation import Call, Condition, Document, Ref, Service, Test
from runbook.secret import FromEnv
from runbook.transports import http
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded
from runbook.transports.world import World
from tests.fixtures.patience import LONGER_S
from tests.transports.conftest import Uses


class Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str, dict[str, str], str]]] = []
    let_go: ClassVar[threading.Event] = threading.Event()

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length).decode()))
        match self.path:
            case "/redirect":
                self.send_response(302)
                self.send_header("location", "/elsewhere")
                self.end_headers()
            case "/echo":
                self.send_response(500)
                self.end_headers()
                self.wfile.write(b"x" * 190 + self.headers["x-token"].encode("latin-1"))
            case "/large-echo":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x" * (64 * 1024 - 10) + self.headers["x-token"].encode("latin-1") * 3)
            case "/large":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x" * 200_000)
            case "/silent":
                self.let_go.wait()
            case "/drip":
                self.connection.sendall(b"HTTP/1.1 200 OK\r\n")
                with contextlib.suppress(OSError):
                    while not self.let_go.wait(0.05):
                        self.connection.sendall(b"X-A: 1\r\n")
            case "/half":
                self.connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall is well\n")
                self.let_go.wait()
                self.close_connection = True
            case "/drop-by-drop":
                self.connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                with contextlib.suppress(OSError):
                    while not self.let_go.wait(0.05):
                        self.connection.sendall(b"x")
                self.close_connection = True
            case "/cut":
                self.connection.close()
            case path if path.startswith("/charset/"):
                self.send_response(200)
                self.send_header("content-type", f"text/plain; charset={path.removeprefix('/charset/')}")
                self.end_headers()
                self.wfile.write(b"body")
            case path if path.startswith("/status/"):
                self.send_response(int(path.removeprefix("/status/")))
                self.end_headers()
                self.wfile.write(b"body")

    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen.clear()
    Handler.let_go.clear()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    Handler.let_go.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine's own, and its key beside it (``key.pem``)."""
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    about = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    out = ["-keyout", str(key), "-out", str(made)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *about, *out], check=True, capture_output=True
    )
    return made


@pytest.fixture
def secure(server: str, certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"https://localhost:{made.server_port}"
    Handler.let_go.set()
    made.shutdown()
    made.server_close()


def call(
    url: str, method: str = "GET", *, reads: bool = True, expect: tuple[Condition, ...] = (), **more: object
) -> Call:
    arguments = Document((("url", url), *more.items()))  # type: ignore[arg-type]
    return Call(name="c", service=Service.HTTP, operation=method, arguments=arguments, expect=expect, reads=reads)


def test_an_answer_is_a_result(server: str, world: World, uses: Uses) -> None:
    outcome = world.perform(call(f"{server}/status/200"), uses())
    assert isinstance(outcome, Succeeded)
    assert (outcome.fields["status"], outcome.fields["body"]) == (200, "body")


def test_headers_bodies_late_values_and_secrets_are_sent(
    server: str, world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "token-value-123")
    headers = Document((("authorization", FromEnv("TOKEN")),))
    sent = call(f"{server}/status/201", "post", reads=False, headers=headers, body=Document((("n", Ref("o", "n")),)))
    outcome = world.perform(sent, uses(results={"o": {"n": 3}}))
    assert isinstance(outcome, Succeeded)
    ((method, _, seen, body),) = Handler.seen
    assert (method, seen["authorization"], json.loads(body)) == ("POST", "token-value-123", {"n": 3})
    assert seen["content-type"] == "application/json"


def test_redirects_are_shown_not_followed_and_bodies_are_bounded(server: str, world: World, uses: Uses) -> None:
    outcome = world.perform(call(f"{server}/redirect"), uses())
    assert isinstance(outcome, Succeeded)
    assert outcome.fields["status"] == 302
    assert len(Handler.seen) == 1
    large = world.perform(call(f"{server}/large"), uses())
    assert isinstance(large, Succeeded)
    assert len(str(large.fields["body"])) == 64 * 1024


@pytest.mark.parametrize(
    ("path", "reads", "kind"),
    [
        ("/status/404", False, Failed),
        ("/status/500", False, Failed),
        ("/status/504", False, Lost),
        ("/status/504", True, Failed),
        ("/cut", False, Lost),
        ("/cut", True, Failed),
    ],
)
def test_what_an_answer_or_none_means(
    path: str, reads: bool, kind: type[Outcome], server: str, world: World, uses: Uses
) -> None:
    assert isinstance(world.perform(call(server + path, "POST", reads=reads), uses()), kind)


def test_a_deadline_while_waiting_is_unknown_for_a_change(
    server: str, world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWERS_WITHIN_S", 600.0)
    began = time.monotonic()
    for within_s in LONGER_S:
        outcome = world.perform(call(f"{server}/silent", "POST", reads=False), uses(within_s=within_s))
        if Handler.seen:
            break  # else its time was over before it was sent
    assert isinstance(outcome, Lost)
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_headers_that_come_one_by_one_are_not_waited_for_beyond_the_bound(
    server: str,
    secure: str,
    certificate: Path,
    scheme: str,
    reads: bool,
    world: World,
    uses: Uses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    where, began = server if scheme == "http" else secure, time.monotonic()
    for within_s in LONGER_S:
        outcome = world.perform(call(f"{where}/drip", "GET", reads=reads), uses(within_s=within_s))
        if Handler.seen:
            break  # else its time was over before it was sent
    assert isinstance(outcome, Failed if reads else Lost)
    assert "not over in time" in outcome.problem.detail
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("path", ["/half", "/drop-by-drop"])
def test_what_has_come_in_time_of_an_answer_that_is_not_over_is_no_answer(
    server: str, path: str, world: World, uses: Uses
) -> None:
    for reads in (True, False):
        Handler.seen.clear()
        for within_s in LONGER_S:
            outcome = world.perform(call(f"{server}{path}", "GET", reads=reads), uses(within_s=within_s))
            if Handler.seen:
                break  # else its time was over before it was sent
        assert isinstance(outcome, Failed if reads else Lost), outcome
        assert "not over in time" in outcome.problem.detail


def test_an_answer_is_cut_too_where_the_name_took_longer_to_find_than_there_was_time(
    server: str, world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def slowly(*wanted: Any, **more: Any) -> Any:
        time.sleep(1.5)
        return look_up(*wanted, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    began = time.monotonic()
    outcome = world.perform(call(f"{server}/drip".replace("127.0.0.1", "localhost"), "GET"), uses(within_s=1.0))
    assert isinstance(outcome, Failed)
    assert time.monotonic() - began < 300


def test_nobody_listening_is_a_definite_failure(world: World, uses: Uses) -> None:
    outcome = world.perform(call("http://127.0.0.1:1/x", "POST", reads=False), uses())
    assert isinstance(outcome, Failed)
    assert "refused" in outcome.problem.detail
    assert isinstance(world.perform(call("gopher://x", "GET"), uses()), Failed)


def test_expectations_decide(server: str, world: World, uses: Uses) -> None:
    good = call(f"{server}/status/404", expect=(Condition("status", Test.EQUALS, 404),))
    assert isinstance(world.perform(good, uses()), Succeeded)
    bad = call(f"{server}/status/200", expect=(Condition("body", Test.CONTAINS, "all well"),))
    outcome = world.perform(bad, uses())
    assert isinstance(outcome, Failed)
    assert "body contains all well" in outcome.problem.detail


def test_an_untrusted_certificate_is_explained(secure: str, world: World, uses: Uses) -> None:
    outcome = world.perform(call(f"{secure}/"), uses())
    assert isinstance(outcome, Failed)
    assert "certificate is not trusted here: self-signed certificate" in outcome.problem.detail


def test_an_observer_gets_status_0_with_the_reason(server: str, world: World) -> None:
    assert world.look.http(f"{server}/status/503", {}, 60).status == 503
    answer = world.look.http("http://127.0.0.1:1/", {}, 60)
    assert answer.status == 0
    assert "refused" in answer.body


def _with_token(url: str) -> Call:
    headers = Document((("X-Token", FromEnv("TOKEN")),))
    arguments = Document((("url", url), ("headers", headers)))
    return Call(name="ask", service=Service.HTTP, operation="GET", arguments=arguments, reads=True)


def test_a_secret_that_comes_back_is_masked_before_the_answer_is_cut(
    server: str, world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "canary-\N{LATIN SMALL LETTER U WITH DIAERESIS}-correct-horse")
    call = replace(_with_token(f"{server}/echo"), expect=(Condition("status", Test.EQUALS, 200),))
    missed = world.perform(call, uses())
    assert isinstance(missed, Failed)
    assert "xxx•••" in missed.problem.detail
    assert "canary" not in str(missed)
    large = world.perform(_with_token(f"{server}/large-echo"), uses())
    assert isinstance(large, Succeeded)
    assert "canary" not in str(large.fields["body"])
    assert (
        Handler.seen[0][2]["X-Token"].encode("latin-1").decode()
        == "canary-\N{LATIN SMALL LETTER U WITH DIAERESIS}-correct-horse"
    )


@pytest.mark.parametrize("value", ["canary\ncorrect-horse", "canary\x01correct-horse", "canary\x7f-correct-horse"])
def test_a_header_that_can_not_be_sent_is_named_and_its_value_is_not(
    value: str, server: str, world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", value)
    refused = world.perform(_with_token(server), uses())
    assert isinstance(refused, Failed)
    assert "the header 'X-Token' holds a character" in refused.problem.detail
    assert "canary" not in str(refused)
    assert Handler.seen == []


@pytest.mark.parametrize("name", ["hex", "idna", "nothing-known"])
def test_a_charset_that_is_none_of_texts_is_read_as_utf_8(server: str, world: World, uses: Uses, name: str) -> None:
    outcome = world.perform(call(f"{server}/charset/{name}"), uses())
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.fields["body"] == "body"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"), ("ALL_PROXY", "socks5://127.0.0.1:1", "socks")],
)
def test_settings_with_which_nothing_can_be_sent_are_a_definite_failure(
    server: str, world: World, uses: Uses, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    outcome = world.perform(call(f"{server}/status/200", "POST", reads=False), uses())
    assert isinstance(outcome, Failed), outcome
    assert said in outcome.problem.detail
    assert "SSL_CERT_" in outcome.problem.fix
    assert Handler.seen == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/\ud800", "http://xn--a/", "http://127.0.0.1:port/"])
def test_a_url_that_is_none_is_a_definite_failure(world: World, uses: Uses, url: str) -> None:
    outcome = world.perform(call(url, "POST", reads=False), uses())
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "E340"
    outcome.problem.render().encode()


def test_a_host_that_can_not_be_looked_up_does_not_end_the_program(world: World, uses: Uses) -> None:
    outcome = world.perform(call(f"http://{'a' * 64}.invalid/"), uses())
    assert isinstance(outcome, Failed)
    assert "label empty or too long" in outcome.problem.detail
