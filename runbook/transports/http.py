"""HTTP: one request, one answer, bounded; redirects are shown and not followed.

Owns the use of httpx (imported late). Promises: a request whose answer was lost is :class:`Lost` unless it only reads; a body is
cut at 64 KiB, and known secrets in it are masked before anything is cut; no secret header is in a message.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runbook.condition import explain, failing
from runbook.errors import Problem
from runbook.late import Results, document
from runbook.operation import Call, Fields
from runbook.quoting import visible
from runbook.secret import Redactor, SecretRef
from runbook.transports.bound import Bound
from runbook.transports.outcome import Failed, Lost, Outcome, Succeeded
from runbook.transports.trouble import Trouble, trouble

if TYPE_CHECKING:
    import httpx

LONGEST_BODY = 64 * 1024
LONGEST_SHOWN = 200
"""Characters of a body in a message."""
ANSWERS_WITHIN_S = 30.0
_NO_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What can't stand in a header's value (RFC 9110, 5.5)."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_OVER = "its answer was not over in time"
_WRONG = "correct the url and the headers in the environment"
_UNSETTLED = frozenset({502, 504})
"""A gateway's word about a server that it lost: the request may have been carried out."""
_OF_THE_CLOCK = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its values in place."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: status, at most 64 KiB of the body, and how long it took."""

    status: int
    body: str
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class NoResponse:
    """Nothing came back. ``sent``: the request may have reached the server."""

    why: str
    sent: bool
    elapsed_s: float


def send(request: Request, bound: Bound, *, redactor: Redactor) -> Response | NoResponse:
    """Send it and read the answer, within the bound (at most 30 s between two bytes). Raises :class:`Trouble` for a bad request."""
    import httpx

    headers = _headers(request)
    enough = LONGEST_BODY + 4 * redactor.longest  # a secret at the cut is read to its end: only so is it known

    began = time.monotonic()

    def elapsed_s() -> float:
        return round(time.monotonic() - began, 3)

    client, asked = _prepared(request, headers, max(0.001, bound.at_most(ANSWERS_WITHIN_S)))
    end = _End()
    try:
        with end.at(bound, asked), client, contextlib.closing(client.send(asked, stream=True)) as answer:
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) >= enough:
                    break
                if bound.over:
                    return NoResponse(_NOT_OVER, sent=True, elapsed_s=elapsed_s())
            else:
                if end.come and not _told_how_long(answer.headers):  # it may have been cut, and looks whole
                    return NoResponse(_NOT_OVER, sent=True, elapsed_s=elapsed_s())
            text = redactor(_text(bytes(body), answer.encoding or "utf-8"))
            return Response(answer.status_code, _cut(text), elapsed_s())
    except httpx.UnsupportedProtocol as error:
        raise _unmade(request, error, _WRONG) from None
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        return NoResponse(_explained(error), sent=False, elapsed_s=elapsed_s())
    except (httpx.HTTPError, UnicodeError) as error:  # a host's name is only encoded when it is looked up
        why = _NOT_OVER if end.come else f"{type(error).__name__}: {redactor(str(error))}"
        return NoResponse(why, sent=True, elapsed_s=elapsed_s())


class _End:
    """The end of a request's time. Each wait for a byte is bounded, but a server may send one by one: its line is cut."""

    def __init__(self) -> None:
        self.come = False
        self._line: socket.socket | None = None

    @contextlib.contextmanager
    def at(self, bound: Bound, asked: httpx.Request) -> Iterator[None]:
        """Within, the request has as long as the bound says."""
        left = bound.left_s()
        if left is None:
            yield
            return
        asked.extensions["trace"] = self._follow
        timer = threading.Timer(left, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _follow(self, event: str, about: Mapping[str, object]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream: Any = about["return_value"]  # httpcore's
            self._line = stream.get_extra_info("socket")
            if self.come:  # a name that was looked for, or a greeting, took longer than there was time
                self._cut()

    def _cut(self) -> None:
        self.come = True
        line = self._line
        if line is not None:
            # as any socket's: one of TLS would take its state from whoever reads
            with contextlib.suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)


def _told_how_long(headers: httpx.Headers) -> bool:
    """Whether an answer says where it ends, so that one that was cut is known for it."""
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")


def _prepared(request: Request, headers: Mapping[bytes, bytes], within_s: float) -> tuple[httpx.Client, httpx.Request]:
    """What sends it, and what is sent. Raises :class:`Trouble` where the machine's settings or the request allow neither."""
    import httpx

    try:
        client = httpx.Client(follow_redirects=False, timeout=within_s)
    except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
        fix = "env | grep -i -e proxy -e ^SSL_CERT_    # which certificates are trusted, which proxy is asked? Then try again"
        raise _unmade(request, error, fix) from None
    try:
        return client, client.build_request(request.method, request.url, headers=headers, content=request.body)
    except (httpx.InvalidURL, ValueError) as error:
        client.close()
        raise _unmade(request, error, _WRONG) from None


def _unmade(request: Request, error: Exception, fix: str) -> Trouble:
    return trouble("E340", "a request could not be made", f"{visible(request.url)}: {error}", fix)


def _headers(request: Request) -> dict[bytes, bytes]:
    """Names and values as they are sent: UTF-8. Raises :class:`Trouble` with the name of one that can't be, without its value."""
    for name, value in request.headers.items():
        if not _NAME.fullmatch(name) or _NO_HEADER.search(value):
            detail = (
                f"{request.url}: the header {name!r} holds a character that a header can't have, such as a line's end."
            )
            raise trouble(
                "E340", "a request could not be made", detail, "correct the header, or what its secret is read from"
            )
    given = {name.encode(): value.strip(" \t").encode() for name, value in request.headers.items()}
    named = any(name.lower() == b"user-agent" for name in given)
    return given if named else {b"user-agent": b"runbook", **given}


def _text(body: bytes, encoding: str) -> str:
    """The body in the encoding that the server names; in UTF-8 where Python has that name for something else than texts."""
    try:
        return body.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        return body.decode("utf-8", "replace")


def _cut(text: str) -> str:
    """At most 64 KiB of it, whole characters."""
    return text.encode()[:LONGEST_BODY].decode("utf-8", "ignore")


def request_of(call: Call, results: Results, reveal: Callable[[SecretRef], str]) -> Request:
    """The request that a call describes. Raises :class:`Trouble`."""
    given = {key: document(value, results, reveal) for key, value in call.arguments.items}
    url, headers, body = given.get("url"), given.get("headers") or {}, given.get("body")
    if not isinstance(url, str) or not isinstance(headers, dict):
        raise trouble(
            "E340",
            "a request could not be made",
            "It needs a url, and headers as names with texts.",
            _WRONG,
        )
    plain = {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in headers.items()}
    if body is not None and not isinstance(body, str):
        body = json.dumps(body, ensure_ascii=False)
        if "content-type" not in (name.lower() for name in plain):
            plain["content-type"] = "application/json"
    return Request(call.operation.upper(), url, plain, body)


def perform_call(
    call: Call, results: Results, reveal: Callable[[SecretRef], str], bound: Bound, *, redactor: Redactor
) -> Outcome:
    """Perform an HTTP call. Result: ``status``, ``body``, ``elapsed_s``. Raises :class:`Trouble` before anything was sent.

    Without ``expect``, a status below 400 is success.
    """
    request = request_of(call, results, reveal)
    answer = send(request, bound, redactor=redactor)
    where = f"{request.method} {request.url}"
    match answer:
        case NoResponse(why, sent, _):
            problem = Problem(
                "E341", "no answer came", f"{where}: {why}", f"curl -sv -X {request.method} {request.url!r}"
            )
            return Lost(problem) if sent and not call.reads else Failed(problem)
        case Response(status, body, elapsed_s):
            fields: Fields = {"status": status, "body": body, "elapsed_s": elapsed_s}
    missed = failing(call.expect, fields, results)
    if missed:
        answered = f"It answered {status}: {body[:LONGEST_SHOWN]!r}"
        detail = "\n".join([where, *(explain(one, fields) for one in missed), answered])
        return Failed(Problem("E314", "the result is not what was expected", detail, _look(request, call)), fields)
    if call.expect or status < 400:
        return Succeeded(fields)
    problem = Problem("E342", "the web service said no", f"{where} gave status {status}.", _look(request, call))
    return Lost(problem) if status in _UNSETTLED and not call.reads else Failed(problem, fields)


def _explained(error: Exception) -> str:
    """Why there was no connection; faults of TLS in words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"the server's certificate is not trusted here: {cause.verify_message}"
            if cause.verify_code in _OF_THE_CLOCK:  # a machine that has lost its time trusts nobody
                why += f"; the clock here says {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}: is that right?"
            return why
        if isinstance(cause, ssl.SSLError):
            return f"TLS could not be agreed on: {cause.reason or cause}"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _look(request: Request, call: Call) -> str:
    """How a person asks the same, where asking changes nothing."""
    if call.reads or request.method in ("GET", "HEAD"):
        return f"curl -sv -X {request.method} {request.url!r}"
    return "look at the service's log, mend what it says, then try again"
