"""Records: one canonical line, read back exactly, every alteration seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.errors import Bug
from runbook.journal.record import (
    GENESIS,
    MAX_RECORD_BYTES,
    RESERVED,
    Damaged,
    JsonValue,
    Payload,
    Record,
    Writer,
    decode,
    draft,
    encode,
    seal,
)

AT = datetime(2026, 2, 14, 12, 0, 0, 123456, tzinfo=UTC)
WRITER = Writer(run="20260214-120000-restore-db-4f3a", epoch=2, boot="b-1")


def sealed(payload: Payload, *, seq: int = 7, mono: float = 123.456) -> Record:
    return seal(draft(payload), WRITER, seq=seq, at=AT, mono=mono, prev=GENESIS)


def rehashed(body: bytes) -> bytes:
    """A line with this content and a hash that fits: what somebody who knows the format could forge."""
    return body[:-1] + b',"hash":"' + sha256(body).hexdigest().encode() + b'"}\n'


def body_of(record: Record) -> bytes:
    return record.line[: -len(b',"hash":""}\n') - 64] + b"}"


def test_the_line_has_the_promised_form() -> None:
    record = sealed({"event": "step.succeeded", "step": "restore", "attempt": 1})
    body = (
        '{"seq":7,"at":"2026-02-14T12:00:00.123456Z","event":"step.succeeded","run":"20260214-120000-restore-db-4f3a",'
        f'"step":"restore","attempt":1,"epoch":2,"boot":"b-1","mono":123.456,"prev":"{GENESIS}"}}'
    )
    assert record.line == rehashed(body.encode())
    assert list(json.loads(record.line))[-1] == "hash"
    assert encode(record) == record.line


def test_the_event_may_stand_anywhere_in_the_payload() -> None:
    assert sealed({"step": "a", "event": "step.started"}) == sealed({"event": "step.started", "step": "a"})


def test_reading_gives_every_field_back() -> None:
    written = sealed({"event": "step.started", "step": "a", "list": (1, 2.5, None, True), "é": {"x": []}})
    found = decode(written.line)
    assert found == written
    assert (
        found.payload
        == written.payload
        == {"event": "step.started", "step": "a", "list": [1, 2.5, None, True], "é": {"x": []}}
    )
    for name in ("seq", "at", "event", "run", "epoch", "boot", "mono", "prev", "hash"):
        assert getattr(found, name) == getattr(written, name)


def test_a_payload_is_copied_and_any_mapping_will_do() -> None:
    inner: dict[str, JsonValue] = {"rows": 3}
    record = sealed(MappingProxyType({"event": "operation.finished", "result": MappingProxyType(inner)}))
    inner["rows"] = 4
    assert record.payload["result"] == {"rows": 3}


def test_names_that_are_not_unicode_survive() -> None:
    raw = b"dump-\xff.sql".decode("utf-8", "surrogateescape")
    record = sealed({"event": "operation.noted", "path": raw})
    assert b"\\udcff" in record.line
    assert decode(record.line).payload["path"] == raw


def test_split_surrogate_pairs_are_joined_before_they_are_written() -> None:
    record = sealed({"event": "operation.noted", "text": "\ud83d\ude00\udcff"})
    assert decode(record.line).payload["text"] == "😀\udcff" == record.payload["text"]


@pytest.mark.parametrize("key", sorted(RESERVED))
def test_reserved_keys_are_refused(key: str) -> None:
    with pytest.raises(Bug, match=key):
        draft({"event": "step.started", key: 1})


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"event": ""},
        {"event": 3},
        {"event": "étape"},
        {"event": "a\nb"},
        {"event": "x", "number": float("nan")},
        {"event": "x", "number": float("inf")},
        {"event": "x", "bytes": b"abc"},
        {"event": "x", "set": {1}},
        {"event": "x", "twice": {1: "a", "1": "b"}},
        {"event": "x", "much": "a" * (MAX_RECORD_BYTES // 4)},
    ],
)
def test_what_is_not_a_payload_is_refused_before_it_is_written(payload: Payload) -> None:
    with pytest.raises(Bug):
        draft(payload)


def test_a_refusal_does_not_tell_the_value() -> None:
    with pytest.raises(Bug) as caught:
        draft({"event": "x", "secret": {"canary-1234567": b"canary-1234567"}})
    assert "canary" not in str(caught.value)


def deep(levels: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(levels):
        value = [value]
    return value


def test_bottomless_nesting_is_refused_in_both_directions() -> None:
    with pytest.raises(Bug):
        draft({"event": "x", "deep": deep(100_000)})
    forged = body_of(sealed({"event": "x", "deep": 1})).replace(b'"deep":1', b'"deep":' + b"[" * 9999 + b"]" * 9999)
    with pytest.raises(Damaged):
        decode(rehashed(forged))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seq":7', b'"seq": 7'),
        (b'"seq":7', b'"seq":7.0'),
        (b'"seq":7', b'"seq":true'),
        (b'"seq":7', b'"seq":"7"'),
        (b'"mono":123.456', b'"mono":1.23456e2'),
        (b'"mono":123.456', b'"mono":123'),
        (b'"mono":123.456', b'"mono":NaN'),
        (b"123456Z", b"123456+00:00"),
        (b"123456Z", b"123Z"),
        (b"2026-02-14T", b"2026-02-31T"),
        (b'"step":"a"', b'"step":"a","step":"a"'),
        (b'"step":"a"', b'"step":"\\u0061"'),
        (b'"step":"a"', b'"step":"a","hash":"b"'),
        (b'"step":"a"', b'"seq":8'),
        (b'"epoch":2,"boot":"b-1"', b'"boot":"b-1","epoch":2'),
        (b'"epoch":2,', b""),
        (b'"step":"a"', b'"step":"\xff"'),
        (b'"step":"a"', b'"step":"a"}{'),
        (b'"step":"a"', b'"step":' + b"9" * 5000),
    ],
)
def test_a_forged_line_in_another_form_is_damage_though_its_hash_fits(old: bytes, new: bytes) -> None:
    body = body_of(sealed({"event": "step.started", "step": "a"}))
    assert decode(rehashed(body)).seq == 7
    assert old in body
    with pytest.raises(Damaged):
        decode(rehashed(body.replace(old, new)))


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"\0" * 500, b"a" * (MAX_RECORD_BYTES + 5000)]
)
def test_what_is_not_a_record_is_damage(line: bytes) -> None:
    with pytest.raises(Damaged):
        decode(line)


def test_a_line_without_its_newline_is_not_whole() -> None:
    with pytest.raises(Damaged):
        decode(sealed({"event": "x"}).line[:-1])


def test_every_flipped_bit_of_a_line_is_seen() -> None:
    line = sealed({"event": "step.succeeded", "step": "restore"}).line
    for position in range(len(line)):
        for bit in range(8):
            altered = bytearray(line)
            altered[position] ^= 1 << bit
            with pytest.raises(Damaged):
                decode(bytes(altered))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
KEYS = st.text().filter(lambda key: key not in RESERVED and key != "event")


@given(
    st.dictionaries(KEYS, VALUES, max_size=6),
    st.integers(1, 10**12),
    st.floats(0, 1e9),
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    st.text(),
)
def test_whatever_is_written_is_read_back(
    payload: dict[str, JsonValue], seq: int, mono: float, at: datetime, boot: str
) -> None:
    writer = Writer(run="r", epoch=1, boot=boot)
    record = seal(draft({"event": "x.y", **payload}), writer, seq=seq, at=at, mono=mono, prev=GENESIS)
    found = decode(record.line)
    assert found.payload == {"event": "x.y", **payload}
    assert (found.seq, found.at, found.mono, found.boot) == (seq, at, record.mono, boot)
    assert found == record
    assert record.line.count(b"\n") == 1


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(line: bytes) -> None:
    with pytest.raises(Damaged):
        decode(line)
    with pytest.raises(Damaged):
        decode(rehashed(line + b"}"))
