"""What a careless program does with its secrets: prints them in every form that it knows, to both streams, in pieces.

    child.py TOLD FIFO CODE NAME…

Leaves in TOLD a fingerprint of each variable NAME, so that a test knows that it had them; waits for FIFO's writer, if it is
not `-`; ends with CODE. It says nothing of where it stands, and imports nothing of the project.
"""

import base64
import hashlib
import html
import json
import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(value: str) -> list[str]:
    """The value as programs show it."""
    raw = value.encode()
    return [
        value,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        repr(value),
        repr(raw),
        shlex.quote(value),
        "'" + value.replace("'", "'\\''") + "'",
        "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'",
        html.escape(value),
        raw.hex(),
        raw.hex().upper(),
        *(base64.b64encode(b"\0" * shift + raw + b"x" * (3 - shift)).decode() for shift in range(3)),
        *(base64.urlsafe_b64encode(b"\0" * shift + raw).decode() for shift in range(3)),
        "\n".join(f"    | {line}" for line in value.split("\n")),
    ]


def main() -> int:
    """Print, tell, wait, end."""
    told, fifo, code, *names = sys.argv[1:]
    for name in names:
        value = os.environ[name]
        (Path(told) / name).write_text(hashlib.sha256(value.encode()).hexdigest())
        for stream in (sys.stdout, sys.stderr):
            for form in forms(value):
                half = len(form) // 2
                for piece in (form[:half], form[half:] + "\n"):
                    stream.write(piece)
                    stream.flush()
    if fifo != "-":
        Path(fifo).read_bytes()
    return int(code)


sys.exit(main())
