"""Runs one command and accounts for all that descends from it: ``python -I -S wrapper.py RESULT LOG PROGRAM [ARGUMENT …]``.

Promises: the wrapper is the subreaper (prctl(2)) of what it starts, so a supervisor that detached itself is waited for and its
CPU counted with that of its children. ``RESULT`` gets one JSON object: ``wall_s`` until the command itself ended, ``cpu_s`` of all
processes, ``peak_bytes`` (the largest resident size of the command or of a child that it waited for), ``code``.
"""

import ctypes
import json
import os
import sys
import time

SET_CHILD_SUBREAPER = 36


def main(result: str, log: str, argv: list[str]) -> None:
    """Run, wait for everything, write the result."""
    if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    streams = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((null, out, out))]
    began = time.monotonic()
    main_pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=streams)
    cpu_s, found = 0.0, {}
    while True:
        try:
            pid, status, used = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu_s += used.ru_utime + used.ru_stime
        if pid == main_pid:
            found = {
                "wall_s": time.monotonic() - began,
                "peak_bytes": used.ru_maxrss * 1024,
                "code": os.waitstatus_to_exitcode(status),
            }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not loaded
        json.dump(found | {"cpu_s": cpu_s}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
