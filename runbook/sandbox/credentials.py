"""The sandbox's own passwords and keys: made once, kept in files that only the operator may read.

Owns minting. Promises: a secret exists in its 0600 file before anything uses it, and isn't changed afterwards, so that
data made with it stays reachable.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets as random_secrets
from base64 import b64encode
from pathlib import Path

from runbook.sandbox.state import write_private
from runbook.secret import Secret


def mint(path: Path) -> Secret:
    """The secret in ``path``, made now (32 random bytes, letters and digits) if there is none."""
    if not path.exists():
        write_private(path, random_secrets.token_hex(32) + "\n")
    return read(path)


def read(path: Path) -> Secret:
    """The secret in ``path``, without the final newline."""
    return Secret(path.read_text(encoding="utf-8").removesuffix("\n"))


def scram_verifier(secret: Secret) -> str:
    """What PostgreSQL stores for a password (RFC 5803): enough to check it, of no use to log in with."""
    salt, rounds = random_secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", secret.reveal().encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${rounds}:{_base64(salt)}${_base64(stored)}:{_base64(server)}"


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
