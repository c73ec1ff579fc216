"""Values that mean more than themselves to somebody: a shell, a server, a file system, a terminal, a template.

Owns the table. Where a value would do something, what it does is to make the file ``CANARY``: that the file isn't there shows that
nothing was executed. Terminals and readers are told apart from shells: :data:`ACTING` holds the characters that no page may show.
"""

from __future__ import annotations

import re

CANARY = "canary-was-executed"
RUNS = f"touch {CANARY}"

VALUES = {
    "substitution": f"$({RUNS})",
    "backticks": f"`{RUNS}`",
    "semicolon": f"; {RUNS} ;",
    "pipe": f"| {RUNS} & {RUNS}",
    "newline": f"a\n{RUNS}\nb",
    "single-quote": f"'; {RUNS}; '",
    "double-quote": f'"; {RUNS}; "',
    "every-quote": "'\"`´‘’“”'\"",
    "option": f"--checkpoint-action=exec={RUNS}",
    "dash": "-rf",
    "percent": "%s%n%x%(x)s%%",
    "braces": "{}{0}{x}{{ 7 * 7 }}{% raw %}",
    "expansion": "$HOME ${HOME} $((7*7)) ~ * ? [a-z] !!",
    "tilde": "~root/x",
    "backslash": "\\ \\n \\x41 \\",
    "escape": "\x1b[2J\x1b]0;x\x07\x1b[35m",
    "control": "\x01\x08\x0b\x7f\x85\x9b35m",
    "carriage": "good\rbad\r\n",
    "tab": "a\tb",
    "direction": "safe\u202etxet\u2066x\u2069\u061c",
    "no-width": "a\u200bb\u2060c\ufeffd\u00ade\u2028f\U000e0041",
    "long": "x" * 300,
    "upwards": f"../../../tmp/{CANARY}",
    "drop": 'a"; DROP TABLE shop; --',
    "drop-literal": "a'; DROP TABLE shop; --",
    "named": ":name $1 ? %(x)s @x",
    "dollar-quote": "$$; DROP TABLE shop; $$",
    "unicode-escape": "\\u0027; U&'\\0027' E'\\''",
    "markup": "<script>x</script><!--&amp;]]>",
    "entities": "&lt;b&gt; #35; \\[x](y) **z** |",
    "yaml": "- a: &b !!python/object/apply:os.system [id] # *b",
    "empty": "",
}
"""By what they try."""

ACTING = re.compile(
    "[\0-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What no page may show: every control but the line's end, every character that turns, breaks or hides text."""


def quoted(text: str) -> str:
    """The text as a YAML scalar of plain ASCII."""
    return '"' + "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in text) + '"'
