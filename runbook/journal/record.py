"""A record of the journal and its one canonical line.

Owns the format: key order, separators, the hash and the chain. Pure. Promises that :func:`decode` accepts exactly the
lines that :func:`seal` makes: it encodes what it read once more and compares byte for byte, so a line that means the same
but is written differently is damage. A line is UTF-8 JSON; a lone surrogate (from a file name that isn't UTF-8) is
written as its ``\\udcxx`` escape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeAlias

from runbook.errors import Bug
from runbook.units import parse_instant, show_instant

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Payload: TypeAlias = Mapping[str, JsonValue]

GENESIS: Final = "0" * 64
"""The ``prev`` of the first record."""

MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Bulk belongs in files beside the journal, with a hash in the record."""

_LEADING: Final = ["seq", "at", "event", "run"]
_TRAILING: Final = ["epoch", "boot", "mono", "prev"]
RESERVED: Final = frozenset([*_LEADING, *_TRAILING, "hash"]) - {"event"}
"""Keys that the journal fills in; a payload can't have them."""

_HASH_KEY: Final = b',"hash":"'
_SUFFIX_BYTES: Final = len(_HASH_KEY) + 64 + len(b'"}\n')


class Damaged(ValueError):
    """A line isn't what :func:`seal` would have written; the text says in what respect, without the content."""


@dataclass(frozen=True, slots=True)
class Record:
    """One acknowledged or read record. ``line`` determines all else, so two records are equal if their lines are.

    ``payload`` is what the caller gave (with ``event``), as a reader of the line sees it. ``mono`` is in seconds of the
    boot named by ``boot``; ``line`` ends with a newline.
    """

    seq: int = field(compare=False)
    at: datetime = field(compare=False)
    event: str = field(compare=False)
    run: str = field(compare=False)
    payload: Payload = field(compare=False, hash=False)
    epoch: int = field(compare=False)
    boot: str = field(compare=False)
    mono: float = field(compare=False)
    prev: str = field(compare=False)
    hash: str = field(compare=False)
    line: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the run, the epoch (how many engines have opened it) and the boot of the machine."""

    run: str
    epoch: int
    boot: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A payload that was checked and encoded, and waits for its place in the chain."""

    event: str
    payload: Payload
    members: str


def draft(payload: Payload) -> Draft:
    """Check and encode a payload. :class:`Bug` if it has no event, a reserved key, or can't be read back as written."""
    event = payload.get("event")
    if not isinstance(event, str) or not event.isascii() or not event.isprintable() or not event:
        raise Bug("a journal record needs an `event`, a short ASCII name")
    if not RESERVED.isdisjoint(payload):
        raise Bug(f"the payload of {event} uses keys of the journal itself: {', '.join(RESERVED & payload.keys())}")
    try:
        given = {key: value for key, value in payload.items() if key != "event"}
        text = _well_formed(_ENCODER.encode(given))
        read_back = json.loads(text)
        # equal is faithful, and found quickly; a tuple that came back as a list is unequal, and may be faithful all the same
        faithful = read_back == given or _ENCODER.encode(read_back) == text
    except (TypeError, ValueError, RecursionError) as error:
        raise Bug(f"the payload of {event} isn't JSON: {type(error).__name__}") from None
    if not faithful:
        raise Bug(f"the payload of {event} can't be read back as it was written (keys that aren't unique strings?)")
    if len(text) > MAX_RECORD_BYTES // 4:  # a character takes at most four bytes
        raise Bug(f"the payload of {event} has {len(text)} characters; a record holds {MAX_RECORD_BYTES // 4}")
    return Draft(event=event, payload={"event": event, **read_back}, members=text[1:-1])


def seal(content: Draft, writer: Writer, *, seq: int, at: datetime, mono: float, prev: str) -> Record:
    """Give a draft its place in the chain: the record with its hash and its line."""
    mono = round(float(mono), 6)
    members = f",{content.members}" if content.members else ""
    text = (
        f'{{"seq":{seq},"at":"{show_instant(at)}","event":{_ENCODER.encode(content.event)}'
        f',"run":{_ENCODER.encode(writer.run)}{members},"epoch":{writer.epoch}'
        f',"boot":{_ENCODER.encode(writer.boot)},"mono":{mono!r},"prev":"{prev}"}}'
    )
    body = _to_bytes(text)
    digest = sha256(body).hexdigest()
    return Record(
        seq=seq,
        at=at,
        event=content.event,
        run=writer.run,
        payload=content.payload,
        epoch=writer.epoch,
        boot=writer.boot,
        mono=mono,
        prev=prev,
        hash=digest,
        line=b'%b,"hash":"%b"}\n' % (body[:-1], digest.encode()),
    )


def encode(record: Record) -> bytes:
    """The record's line, with its newline."""
    return record.line


def decode(line: bytes) -> Record:
    """Read one line, newline included. :class:`Damaged` unless :func:`seal` would have written exactly these bytes."""
    if len(line) > MAX_RECORD_BYTES + 4096:
        raise Damaged("it is longer than any record")
    body, digest = _split(line)
    try:
        fields = json.loads(body)
        canonical = isinstance(fields, dict) and _to_bytes(_ENCODER.encode(fields)) == body
    except (ValueError, RecursionError):
        raise Damaged("it isn't JSON") from None
    if not canonical:
        raise Damaged("it isn't in canonical form")
    keys = list(fields)
    if keys[:4] != _LEADING or keys[-4:] != _TRAILING or len(keys) < 8 or "hash" in fields:
        raise Damaged("it doesn't have the keys of a record")
    return _record(fields, digest, line)


def _split(line: bytes) -> tuple[bytes, str]:
    """The part of a line that is hashed, and the hash that it carries and that was found to fit."""
    suffix = line[-_SUFFIX_BYTES:]
    if not suffix.startswith(_HASH_KEY) or not suffix.endswith(b'"}\n'):
        raise Damaged("it isn't a whole record")
    body = line[:-_SUFFIX_BYTES] + b"}"
    digest = sha256(body).hexdigest()
    if suffix[len(_HASH_KEY) : -3] != digest.encode():
        raise Damaged("its hash doesn't fit its content")
    return body, digest


def _record(fields: dict[str, JsonValue], digest: str, line: bytes) -> Record:
    match fields:
        case {
            "seq": int(seq),
            "at": str(at),
            "event": str(event),
            "run": str(run),
            "epoch": int(epoch),
            "boot": str(boot),
            "mono": float(mono),
            "prev": str(prev),
        } if not isinstance(seq, bool) and not isinstance(epoch, bool):
            payload = {key: value for key, value in fields.items() if key not in RESERVED}
            return Record(seq, _instant(at), event, run, payload, epoch, boot, mono, prev, digest, line)
        case _:
            raise Damaged("a key of the record has a value of the wrong type")


def _instant(text: str) -> datetime:
    try:
        moment = parse_instant(text)
    except ValueError:
        raise Damaged("its time can't be read") from None
    if show_instant(moment) != text:
        raise Damaged("its time isn't in canonical form")
    return moment


def _plain(value: object) -> object:
    """Mappings and sequences that the encoder doesn't know by itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"a {type(value).__name__} isn't JSON")


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain)


def _to_bytes(text: str) -> bytes:
    # For a lone surrogate `backslashreplace` writes exactly the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace")


def _well_formed(text: str) -> str:
    """The text with surrogate pairs joined to the character that they mean: as two escapes they'd be read as one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
