"""Who types, and where."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """The operating system's user; the one behind sudo, where there is one."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def machine() -> str:
    """The name of the machine at which the person types."""
    return socket.gethostname()
