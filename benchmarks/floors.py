"""The floors: what the same processes and the same synced appends cost without an engine.

``python -I -S floors.py loop|bare|pool STEPS SYNCS``: ``STEPS`` times ``/bin/true``, with ``SYNCS`` appends of one record's size
per step (may be a fraction), each made durable by ``fdatasync``. ``loop`` is what a person would write, ``subprocess.run`` with the
output captured; ``pool`` the same by 8 threads; ``bare`` only spawns and waits. Works in the current directory.
"""

import os
import subprocess
import sys
import threading

RECORD = b"x" * 399 + b"\n"
AT_ONCE = 8
PROGRAM = "/bin/true"


def run_one() -> None:
    """One process, with what it prints."""
    subprocess.run([PROGRAM], stdin=subprocess.DEVNULL, capture_output=True, check=True)


def spawn_one() -> None:
    """One process, waited for, and nothing else."""
    pid = os.posix_spawn(PROGRAM, [PROGRAM], {"PATH": os.defpath})
    os.waitpid(pid, 0)


class Tape:
    """A file of records, each synced."""

    def __init__(self, per_step: float) -> None:
        self._file = os.open("floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._per_step = per_step
        self._steps = 0
        self._lock = threading.Lock()

    def record(self) -> None:
        """The appends of one step."""
        with self._lock:
            due = int((self._steps + 1) * self._per_step) - int(self._steps * self._per_step)
            self._steps += 1
            for _ in range(due):
                os.write(self._file, RECORD)
                os.fdatasync(self._file)


def loop(steps: int, tape: Tape) -> None:
    """One after the other."""
    for _ in range(steps):
        run_one()
        tape.record()


def bare(steps: int, tape: Tape) -> None:
    """One after the other, as cheap as it gets."""
    for _ in range(steps):
        spawn_one()
        tape.record()


def pool(steps: int, tape: Tape) -> None:
    """Eight at once, each thread taking the next."""
    left = iter(range(steps))

    def work() -> None:
        for _ in left:  # the interpreter's lock hands each number to one thread
            run_one()
            tape.record()

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    {"loop": loop, "bare": bare, "pool": pool}[sys.argv[1]](int(sys.argv[2]), Tape(float(sys.argv[3])))
