"""Files are checked to be text, and their places can be shown without harm."""

from __future__ import annotations

import pytest

from runbook.errors import InvalidInput
from runbook.plan.text import decode, escape
from tests.plan.given import codes, problems


def test_a_byte_order_mark_is_no_part_of_the_content_but_of_the_bytes() -> None:
    text = decode("a.yaml", b"\xef\xbb\xbfa: 1\r\nb: 2\n")
    assert text.lines == ("a: 1", "b: 2", "")
    assert text.raw.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("raw", [b"\xff\xfea\x00", b"\xfe\xff\x00a", b"a: \xe9", b"\x80", b"a: \xed\xa0\x80"])
def test_other_encodings_are_refused(raw: bytes) -> None:
    assert codes(lambda: decode("a.yaml", raw)) == ["E110"]


def test_a_bad_byte_has_its_line_and_column() -> None:
    (problem,) = problems(lambda: decode("a.yaml", "a: ä\nb: é".encode() + b"\xff"))
    assert str(problem.where) == "a.yaml:2:5"


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x07", "\x1b", "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\x85", "\r", "\ufffe"],
)
def test_characters_that_hide_or_command_are_refused_and_never_shown(character: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode("a.yaml", f"a: x{character}y\n".encode())
    assert f"U+{ord(character):04X}" in str(caught.value)
    assert character not in str(caught.value)


def test_ordinary_words_of_all_scripts_are_fine() -> None:
    assert decode("a.yaml", "a: Größe データ مرحبا 🙂\n".encode()).lines[0] == "a: Größe データ مرحبا 🙂"


def test_what_is_escaped_moves_the_caret() -> None:
    assert escape("a\u202eb\x07") == "a\\u202eb\\x07"


def test_a_place_shows_no_secret() -> None:
    text = decode("a.yaml", b"password: hunter2hunter2\nkey: |\n  x\nsecret_key: |\n  hunter2hunter2\n")
    assert text.place(0, 0, 8).text == "password: •••"
    assert text.place(4, 2).text == "  •••"
    assert text.place(2, 2).text == "  x"
