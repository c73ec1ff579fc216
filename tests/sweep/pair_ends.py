"""What is there before each plan for a primary and its standby, and what must be there at its end, wherever the two run.

Who is the primary, on which timeline, that the other one streams or is fenced, that it takes no writes, and that every row is
there whose commit a client was told of (failover: that had been replayed).
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.evidence.kills import Victim
from tests.evidence.program import Program
from tests.evidence.test_failover import Client, House
from tests.fixtures.pair import Server, eventually
from tests.sweep.trials import End

FIRST_ROWS = 20
OWN_ROWS = 5
ROLES = {"rejoin-standby": ("b", "a")}


@dataclass
class PairPlace(ABC):
    """Two servers, the services that write, and the program. ``house.pair`` is one of either kind."""

    house: House[Any]
    archive: Path
    acknowledged: tuple[int, ...] = ()
    clients: list[Client] = field(default_factory=list)
    noted: dict[str, Any] = field(default_factory=dict)

    @property
    def program(self) -> Program:
        """The program, with a state folder of its own."""
        return self.house.program

    @property
    def consent(self) -> tuple[str, ...]:
        """Every confirmation that a plan may ask for."""
        return ("--confirm", "postgres", "--yes")

    @property
    def bases(self) -> Path:
        """The store for base backups."""
        return self.program.folder / "bases"

    def arguments(self, plan: str, *words: str) -> list[str | Path]:
        """The arguments of `apply`, with the roles that the servers have before it."""
        return self.house.arguments(plan, *ROLES.get(plan, ("a", "b")), *words)

    def quiet(self) -> None:
        """The clients write no more."""
        while self.clients:
            self.clients.pop().stop()

    @abstractmethod
    def cleared(self) -> None:
        """The pair as it was prepared, running; no run, no base backup."""

    @abstractmethod
    def struck(self, victim: Victim, engine: subprocess.Popen[bytes]) -> None:
        """Kill the newest run; servers that died with it come back as a machine that boots brings them back."""

    @abstractmethod
    def found_again(self) -> None:
        """Wait until servers that somebody has started anew can be asked."""

    @abstractmethod
    def left(self) -> End:
        """What may stay of no run: directories, servers, half files, programs, stopped services, databases."""

    @abstractmethod
    def died(self, server: Any) -> None:
        """Wait until nothing is left of a server that was killed."""

    @abstractmethod
    def lives(self, server: Any) -> bool:
        """Whether it runs."""

    @abstractmethod
    def rows_in(self, kept: str, like: Any) -> list[int]:
        """The rows of a directory that was kept, read as the plan advises: a copy, without the mark."""


def part(pair: Any) -> None:
    """The standby is promoted while its primary is down; then that comes back, and both take rows."""
    pair.crash(pair.first)
    pair.second.sql("SELECT pg_promote()")
    pair.write(OWN_ROWS, on=pair.second)
    pair.first.start()
    pair.write(OWN_ROWS, on=pair.first)


def streaming(ground: PairPlace) -> list[str]:
    """A standby that streams, and a client that commits until its server is gone."""
    pair = ground.house.pair
    pair.caught_up(pair.first, pair.second)
    client = Client(pair, pair.first)
    ground.clients.append(client)
    client.has_written(1)
    return []


def changed_places(ground: PairPlace) -> End:
    """The standby is the primary with every row that was acknowledged; the old one streams from it."""
    ground.quiet()
    pair = ground.house.pair
    return {
        "wrote": len(pair.acknowledged) > FIRST_ROWS,
        "lost": pair.lost(pair.second),
        "lossless": ground.program.outputs("promote")["lost_nothing"],
        **_two(ground),
    }


def primary_lost(ground: PairPlace) -> list[str]:
    """The last rows never reached the standby when the primary died."""
    pair = ground.house.pair
    pair.write(OWN_ROWS)
    pair.caught_up(pair.first, pair.second)
    ground.noted["replayed"] = _rows(pair.second)
    pair.cut_off(pair.second)
    pair.write(OWN_ROWS)
    pair.crash(pair.first)
    ground.died(pair.first)
    return []


def taken_over(ground: PairPlace) -> End:
    """The standby is the primary with all that it had replayed; the old one is down, and read-only if somebody starts it."""
    pair = ground.house.pair
    kept = _rows(pair.second)
    found: dict[str, object] = {
        "replayed": kept == ground.noted["replayed"],
        "lost": len(pair.lost(pair.second)),
        "primary": _leads(pair.second),
        "old one is down": not ground.lives(pair.first),
    }
    pair.write(1, on=pair.second)
    pair.first.start()
    found["old one refuses"] = _refuses(pair.first)
    pair.first.stop()
    return found


def two_primaries(ground: PairPlace) -> list[str]:
    """After a failover the old primary has come back by itself, and has rows that the new one lacks."""
    pair = ground.house.pair
    eventually(lambda: _leads(pair.first) and _leads(pair.second))
    ground.noted["own"] = _rows(pair.first)
    ground.noted["new"] = _rows(pair.second)
    return []


def come_back(ground: PairPlace) -> End:
    """It streams from the new primary, whose rows are all there; its own are in the directory that was kept."""
    pair = ground.house.pair
    rewound = ground.program.outputs("rewind")
    own = set(ground.noted["own"]) - set(ground.noted["new"])
    return {
        "new": _rows(pair.second) == ground.noted["new"],
        "discarded": rewound["discarded_commits"] == len(own) == OWN_ROWS,
        "kept": ground.rows_in(rewound["kept_as"], pair.first) == ground.noted["own"],
        **_two(ground),
    }


def _two(ground: PairPlace) -> End:
    """The second server leads, the first follows it, has every row that it gets, and takes none itself."""
    pair = ground.house.pair
    leads = _leads(pair.second)
    pair.write(1, on=pair.second)
    pair.caught_up(pair.second, pair.first)
    [(follows, timeline)] = pair.first.sql("SELECT sender_port, received_tli FROM pg_stat_wal_receiver")
    return {
        "primary": leads,
        "streams": follows == pair.standby.port,
        "along": timeline,
        "rows": _rows(pair.first) == _rows(pair.second),
        "refuses": _refuses(pair.first),
        "senders": pair.second.sql("SELECT count(*), min(state) FROM pg_stat_replication"),
        "port": pair.first.sql("SHOW port") == [(str(pair.primary.port),)],
    }


def _rows(server: Server) -> list[int]:
    return sorted(int(str(number)) for (number,) in server.sql("SELECT number FROM notes"))


def _leads(server: Server) -> int:
    """The timeline that it writes; 0 for one in recovery."""
    [(recovering,)] = server.sql("SELECT pg_is_in_recovery()")
    if recovering:
        return 0
    [(segment,)] = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    return int(str(segment)[:8], 16)


def _refuses(server: Server) -> bool:
    """Whether it takes no write, because it is in recovery."""
    try:
        server.sql("INSERT INTO notes VALUES (0)")
    except psycopg.errors.ReadOnlySqlTransaction:
        return server.sql("SELECT pg_is_in_recovery()") == [(True,)]
    return False


def pointed(ground: PairPlace) -> None:
    """The services stay stopped while a person works."""
    assert ground.house.running() == set()
