"""Redaction, captures and logs: alone, and through a real supervisor."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runbook.secret import Redactor, Secret
from runbook.transports.supervisor.client import Supervisor
from runbook.transports.supervisor.output import CHUNK, MASK, Capture, Log, Redaction

from .conftest import one


def through(forms: list[str], chunks: list[bytes]) -> bytes:
    redaction = Redaction(forms)
    return b"".join([redaction.feed(chunk) for chunk in chunks]) + redaction.flush()


@given(
    st.lists(st.text("abx", min_size=1, max_size=6), max_size=4),
    st.text("abx", max_size=60),
    st.lists(st.integers(0, 60)),
)
def test_chunks_never_change_what_comes_out_and_no_form_does(forms: list[str], text: str, cuts: list[int]) -> None:
    data = text.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(edges)]
    whole = through(forms, [data])
    assert through(forms, chunks) == whole
    assert not any(form.encode() in part for form in forms for part in whole.split(MASK))


@given(st.text("abx", max_size=60))
def test_every_byte_of_every_occurrence_is_masked(text: str) -> None:
    forms = ["aba", "bab", "bx"]
    covered = {i for f in forms for at in range(len(text)) if text.startswith(f, at) for i in range(at, at + len(f))}
    kept = "".join(letter for i, letter in enumerate(text) if i not in covered)
    assert through(forms, [text.encode()]).decode().replace("•••", "") == kept


def test_what_can_not_begin_a_secret_is_not_held_back() -> None:
    redaction = Redaction(["canary-4711"])
    assert redaction.feed(b"plain text\n") == b"plain text\n"
    assert redaction.feed(b"can") == b""
    assert redaction.feed(b"not") == b"cannot"


def test_a_capture_keeps_all_or_both_ends() -> None:
    capture = Capture(100)
    capture.add(b"x" * 100)
    assert capture.taken() == {"text": "x" * 100, "bytes": 0, "truncated": False}
    long = Capture(100)
    long.add(b"begin")
    for _ in range(10):
        long.add(b"-" * CHUNK)
    long.add(b"end")
    text = long.taken()["text"]
    assert text.startswith("begin---")
    assert text.endswith("---end")
    assert "was left out" in text
    assert len(text) < 200


def test_a_log_is_bounded_and_says_so(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 10)
    log.write(b"12345678")
    log.write(b"90123")
    log.write(b"never")
    log.close()
    assert (tmp_path / "log").read_text() == "1234567890\n[runbook: log truncated, the bound of the log was reached]\n"
    assert log.fault == "the bound of the log was reached"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_log_that_can_not_be_written_is_marked(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "none" / "log"), 10)
    log.write(b"x")
    assert log.fault == os.strerror(2)


def test_no_form_of_a_secret_reaches_log_answer_or_record(supervisor: Supervisor, run_dir: Path) -> None:
    secret = "canary p@ss/4711"
    script = """
        printf 'canary p@'; sleep 0.05; printf 'ss/4711 and more\\n'
        printf %s 'user:canary p@ss/4711' | base64 >&2
        echo canary%20p%40ss%2F4711
    """
    forms = Redactor((Secret(secret),)).forms
    ended = supervisor.spawn(one("a", script, forms=forms, log=str(run_dir / "a.log")))
    assert ended.stdout.text == "••• and more\n•••\n"
    assert "•••" in ended.exits[0].stderr.text
    written = b"".join(path.read_bytes() for path in run_dir.iterdir() if path.is_file())
    for form in forms:
        assert form.encode() not in written
    assert (run_dir / "a.log").read_text().count("•••") == 3


def test_much_output_is_counted_logged_and_bounded(supervisor: Supervisor, run_dir: Path) -> None:
    script = "head -c 5000000 /dev/zero | tr '\\0' x; echo the end"
    ended = supervisor.spawn(one("a", script, log=str(run_dir / "a.log"), log_max=1_000_000, capture=1000))
    assert (ended.code, ended.stdout.bytes, ended.stdout.truncated) == (0, 5_000_008, True)
    assert ended.stdout.text.endswith("xthe end\n")
    assert 1_000_000 < (run_dir / "a.log").stat().st_size < 1_000_100
    assert ended.log_truncated


def test_a_full_disk_under_the_log_leaves_the_child_alone(supervisor: Supervisor, run_dir: Path) -> None:
    (run_dir / "a.log").symlink_to("/dev/full")
    ended = supervisor.spawn(one("a", "echo said; exit 3", log=str(run_dir / "a.log")))
    assert (ended.code, ended.stdout.text, ended.log_truncated) == (3, "said\n", os.strerror(errno.ENOSPC))
    assert supervisor.spawn(one("b", "true")).code == 0
