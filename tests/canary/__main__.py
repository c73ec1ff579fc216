"""`python -m tests.canary`: every kind of secret and every end of a run, what was searched after it, and what was found.

    .venv/bin/python -m tests.canary [--only END …] [--no-afterwards]

Starts a PostgreSQL cluster of its own. After each end everything that only reads runs too. One row for each kind, one column for
each end: `searched/found`, or a dot where nothing in that end had that secret. The exit code is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.canary.ends import ENDS, afterwards, house
from tests.canary.house import Evidence
from tests.fixtures.account import server_account, server_folder
from tests.fixtures.postgres import PostgresServer, find_binaries, make_cluster


def main(words: Sequence[str] | None = None) -> int:
    """Go through the ends that were asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.canary", description="where secrets are, after every end")
    parser.add_argument("--only", action="append", choices=[end.name for end in ENDS], default=[])
    parser.add_argument("--no-afterwards", action="store_true", help="without the commands that only read")
    asked = parser.parse_args(words)
    table: dict[str, Evidence] = {}
    with cluster() as server:
        for end in ENDS:
            if asked.only and end.name not in asked.only:
                continue
            with house(server) as made:
                end.bring(made)
                if not asked.no_afterwards:
                    afterwards(made)
                table[end.name] = made.search()
            missed = end.uses - table[end.name].used
            unused = f", NOT USED: {', '.join(sorted(missed))}" if missed else ""
            told = f"{table[end.name].searched} files, {len(table[end.name].leaks)} found{unused}"
            print(f"{end.name:<36} {told}", flush=True)
            for leak in sorted(table[end.name].leaks):
                print("   ", *leak, flush=True)
    show(table)
    return 1 if any(evidence.leaks or evidence.open_to_others for evidence in table.values()) else 0


def show(table: dict[str, Evidence]) -> None:
    """Kinds downwards, ends across by number."""
    for number, name in enumerate(table, 1):
        print(f"{number:>3}  {name}")
    kinds = sorted({kind for evidence in table.values() for kind in evidence.used})
    print(f"{'':<24}" + "".join(f"{number:>8}" for number in range(1, len(table) + 1)))
    for kind in kinds:
        cells = (
            f"{one.searched}/{sum(leak[0] == kind for leak in one.leaks)}" if kind in one.used else "·"
            for one in table.values()
        )
        print(f"{kind:<24}" + "".join(f"{cell:>8}" for cell in cells))


@contextmanager
def cluster() -> Iterator[PostgresServer]:
    """A cluster for this command."""
    account = server_account()
    with server_folder(account, "bin") as programs, server_folder(account, "pg") as folder:
        programs.chmod(0o755)
        server = make_cluster(folder, bin_dir=find_binaries(programs, account), account=account, settings={})
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)


if __name__ == "__main__":
    sys.exit(main())
