"""Configuration that lies in a data directory, and so goes back with it: what differs from the former cluster's.

Owns the comparison by names and hashes. Promises: it only looks; what can't be looked at is not said to be the same.
"""

from __future__ import annotations

import posixpath

from runbook.action import Look, Unreachable
from runbook.host import Host
from runbook.paste import on_host
from runbook.quoting import shell_word

ENDINGS = (".conf", ".crt", ".key", ".pem")
"""Settings, who may connect, and TLS (manual, File Locations; Secure TCP/IP Connections with SSL)."""


def went_back(look: Look, host: Host, now: str, former: str) -> str:
    """In words, with a command to see it: which files of the directory ``now`` are not those of ``former``; '' where all are."""
    try:
        here, there = _hashes(look, host, now), _hashes(look, host, former)
    except Unreachable as unseen:
        return f"Whether the configuration is as the former cluster had it can't be told: {unseen.problem.detail} "
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if not names:
        return ""
    first = names[0]
    seen = on_host(host, f"diff {shell_word(f'{former}/{first}')} {shell_word(f'{now}/{first}')}")
    return (
        f"Configuration in the data directory is as the base backup had it, and differs from the former cluster's, in {former}: "
        f"{', '.join(names)}. Look (`{seen}`), copy what is missed, and reload. "
    )


def _hashes(look: Look, host: Host, directory: str) -> dict[str, str]:
    paths = [one.path for one in look.listing(host, directory) if one.kind == "file" and one.path.endswith(ENDINGS)]
    ran = look.run(host, ("sha256sum", "--", *paths)) if paths else None
    lines = (line.partition("  ") for line in ran.stdout.splitlines()) if ran else ()
    found = {posixpath.basename(path): digest for digest, _, path in lines}
    return {posixpath.basename(path): found.get(posixpath.basename(path), "unread") for path in paths}
