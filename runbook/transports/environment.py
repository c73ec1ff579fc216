"""The environment of a child: an allowlist of the engine's, and nothing else.

Owns the list. Promises: no variable of the engine that isn't on it reaches a child, so neither do its credentials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

ALLOWED = (
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_ALLOWED_PREFIX = "LC_"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def allowed_environment(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """What of ``source`` (default: the engine's environment) a child gets; there is always a ``PATH``."""
    given = os.environ if source is None else source
    kept = {name: value for name, value in given.items() if name in ALLOWED or name.startswith(_ALLOWED_PREFIX)}
    return {"PATH": _DEFAULT_PATH, "HOME": "/", **kept}
