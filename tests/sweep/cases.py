"""What is there before each plan for one server, and what must be there at its end."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from runbook.actions.postgres.wal import parse_lsn, segment_at, segment_name
from tests.evidence.damage import spoil
from tests.evidence.witness import Picture, databases, picture, rows_of
from tests.faults.test_retention import copied
from tests.sweep.ground import Ground, archives, ground
from tests.sweep.proofs import hashes, rightly_hashed, stored
from tests.sweep.trials import Case, End

if TYPE_CHECKING:
    from docker import DockerClient


def inputs(**given: str) -> list[str]:
    """The words that give a plan these inputs."""
    return [word for name, value in given.items() for word in ("-i", f"{name}={value}")]


def same(ground: Ground) -> End:
    """The database is as it was when the ground was opened."""
    return {"whole": picture(ground.made.server, ground.made.database) == ground.whole}


def _settled(ground: Ground, plan: str, *words: str) -> int:
    """How a plan that only looks, run when all is over, ends: its exit code."""
    return ground.made.apply(plan, *words).code


# --- backups ------------------------------------------------------------------------------------------------------


def _no_backup(ground: Ground) -> list[str]:
    ground.emptied(ground.made.store)
    return []


def _proven_dump(ground: Ground) -> End:
    """A dump whose files are as its manifest says, and that a restore would take."""
    store = ground.made.store
    return {
        "store": stored(store),
        "hashed": rightly_hashed(store),
        "proven": _settled(ground, "verify-backup"),
        **same(ground),
    }


def _no_base(ground: Ground) -> list[str]:
    ground.emptied(ground.made.bases)
    return []


def base_there(ground: Ground) -> End:
    """A base backup whose files are as its manifest says, and from which the archive leads to now."""
    bases = ground.made.bases
    return {
        "archives": archives(ground),
        "bases": stored(bases),
        "hashed": rightly_hashed(bases),
        "leads": _settled(ground, "check-archive"),
        **same(ground),
    }


def _one_dump(ground: Ground) -> list[str]:
    ground.emptied(ground.made.store)
    ground.made.back_up()
    return []


def _two_dumps(ground: Ground) -> None:
    _one_dump(ground)
    time.sleep(1.1)  # a backup is named by its second
    ground.noted["newest"] = ground.made.back_up().name


def _newest_of_two(ground: Ground) -> list[str]:
    _two_dumps(ground)
    ground.noted["store"] = hashes(ground.made.store)
    return []


def _newest_proven(ground: Ground) -> End:
    """It was the newest, it was read, and no file of the store is another one."""
    program = ground.program
    picked, proven = (program.outputs(step)["artifact"] for step in ("pick", "prove"))
    return {
        "newest": picked["name"] == proven["name"] == ground.noted["newest"],
        "proof": proven["proof"],
        "untouched": hashes(ground.made.store) == ground.noted["store"],
        **same(ground),
    }


def _months_of_dumps(ground: Ground) -> list[str]:
    """One dump, and six of its likes, each of another month."""
    ground.emptied(ground.made.store)
    copied(ground.made.back_up(), *(31 * age + 1 for age in range(6)))
    ground.noted["store"] = hashes(ground.made.store)
    return inputs(daily="0", weekly="0", monthly="3", max_delete="1")


def _pruned(ground: Ground) -> End:
    """The names that stay, each file as it was, and the newest can be restored from."""
    now = hashes(ground.made.store)
    before: dict[str, str] = ground.noted["store"]
    return {
        "store": sorted(now),
        "as it was": all(before[name] == content for name, content in now.items()),
        "removed": len(ground.program.outputs("prune")["removed"]),
        "proven": _settled(ground, "verify-backup"),
        **same(ground),
    }


def _three_bases(ground: Ground) -> list[str]:
    ground.emptied(ground.made.bases)
    for _ in range(3):
        assert ground.made.apply("base-backup").code == 0
        ground.made.sql("SELECT pg_switch_wal()")
        time.sleep(1.1)  # a base backup is named by its second
    ground.noted["bases"] = hashes(ground.made.bases)
    return inputs(weekly="0")


def _bases_pruned(ground: Ground) -> End:
    """The two newest are as they were; the oldest segment is the one that the older of them needs; the archive leads on."""
    bases, before = ground.made.bases, ground.noted["bases"]
    stay = sorted(name for name in before if name.endswith(".manifest.json"))[1:]
    first = json.loads((bases / stay[0]).read_text())
    needed = segment_name(segment_at(parse_lsn(first["wal_start"]), first["timeline"]))
    oldest = min(path.name for path in ground.archive.iterdir() if len(path.name) == 24)
    now = hashes(bases)
    return {
        "bases": sorted(name for name in now if name.endswith(".manifest.json")) == stay,
        "as it was": all(before[name] == content for name, content in now.items()),
        "files": len(now),
        "oldest": oldest == needed,
        "leads": _settled(ground, "check-archive"),
        **same(ground),
    }


# --- restores -----------------------------------------------------------------------------------------------------


def _damage(ground: Ground) -> list[str]:
    _one_dump(ground)
    ground.made.sql("DELETE FROM questions WHERE id % 3 = 0")
    ground.noted["damaged"] = rows_of(ground.made.server, ground.made.database)
    return []


def _restored(ground: Ground) -> End:
    """The dump's database in its place; the damaged one is kept, once, as it was."""
    made = ground.made
    kept = [name for name in databases(made.server) if name.startswith(f"{made.database}_old_")]
    return {
        "kept": [rows_of(made.server, name) == ground.noted["damaged"] for name in kept],
        "named": kept == [ground.program.outputs("restore")["kept_as"]],
        **same(ground),
    }


def _rows_gone(ground: Ground) -> list[str]:
    ground.made.sql("DROP SCHEMA IF EXISTS runbook CASCADE")
    _one_dump(ground)
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    ground.made.sql("DELETE FROM users WHERE id % 5 = 0")
    return inputs(accident=moment, tables="users,questions")


def _rows_back(ground: Ground) -> End:
    """Every row, the schema, and nothing else but the ledger, which has one merge; sequences may have moved forward."""
    merges = ground.made.sql("SELECT count(*) FROM runbook.ledger")
    ground.made.sql("DROP SCHEMA runbook CASCADE")
    now = picture(ground.made.server, ground.made.database)
    rows, schema = _tables(now) == _tables(ground.whole), now.schema == ground.whole.schema
    return {"rows": rows, "schema": schema, "merges": merges}


def _tables(seen: Picture) -> dict[str, tuple[int, str]]:
    return {name: rows for name, rows in seen.rows.items() if not name.endswith("_seq")}


def _two_to_restore(ground: Ground) -> list[str]:
    _two_dumps(ground)
    ground.noted["store"] = hashes(ground.made.store)
    ground.people.told.clear()
    return inputs(probes="SELECT count(*) FROM users", sample_of="questions")


def _told(ground: Ground) -> End:
    """The people were told, and never that it failed; each copy is gone (see what is left), the backups are as they were."""
    told = ground.people.told
    return {
        "told": bool(told) and all("succeeded" in one for one in told),
        "untouched": hashes(ground.made.store) == ground.noted["store"],
        **same(ground),
    }


def _moment_passed(ground: Ground) -> list[str]:
    ground.emptied(ground.made.bases)
    based = ground.made.apply("base-backup")
    assert based.code == 0, based.said
    moment = ground.made.sql("SELECT clock_timestamp()")[0][0]
    assert isinstance(moment, datetime)
    time.sleep(0.05)
    ground.made.sql("DROP TABLE questions CASCADE")
    ground.noted["timeline"] = _timeline(ground)
    return inputs(target=moment.isoformat())


def _recovered(ground: Ground) -> End:
    """The database of that moment on a new timeline, whose history is archived; it takes and archives writes."""
    made = ground.made
    timeline = _timeline(ground)
    [(recovering,)] = made.sql("SELECT pg_is_in_recovery()")
    found = same(ground)
    made.sql("CREATE TABLE written_since AS SELECT 1 AS one")
    made.sql("DROP TABLE written_since")
    return {
        "leads": not recovering,
        "newer": timeline > ground.noted["timeline"],
        "archives": archives(ground),  # histories go before segments
        "history": (ground.archive / f"{timeline:08X}.history").exists(),
        **found,
    }


def _timeline(ground: Ground) -> int:
    """The timeline that the server writes."""
    return int(ground.made.sql("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")[0][0], 16)


# --- corruption ---------------------------------------------------------------------------------------------------


def _broken_index(ground: Ground) -> list[str]:
    """A page of a unique index is written over."""
    ground.emptied(ground.evidence)
    ground.made.sql("DROP EXTENSION IF EXISTS amcheck")
    spoil(ground.made, "users_email_key", 2)
    return []


def _mended(ground: Ground) -> End:
    """The evidence is kept and whole; the index is well again, and no row was lost."""
    made = ground.made
    broken = ground.program.outputs("diagnose")["broken_indexes"]
    again = ground.program.outputs("again")["healthy"]
    made.sql("CREATE EXTENSION IF NOT EXISTS amcheck")
    made.sql("SELECT bt_index_parent_check('users_email_key', true)")  # raises where it is not well
    made.sql("DROP EXTENSION amcheck")
    kept = [suffix for suffix in stored(ground.evidence) if suffix.endswith(".manifest.json")]
    whole = rightly_hashed(ground.evidence)
    return {"broken": broken, "again": again, "evidence": len(kept), "hashed": whole, **same(ground)}


def here(client: DockerClient) -> AbstractContextManager[Ground]:
    return ground(client, there=False)


def there(client: DockerClient) -> AbstractContextManager[Ground]:
    return ground(client, there=True)


_case = partial(Case[Ground], opened=here, opened_there=there)
CASES = (
    _case("verify-backup", _newest_of_two, _newest_proven),
    _case("backup-db", _no_backup, _proven_dump),
    _case("prune-backups", _months_of_dumps, _pruned),
    _case("prune-base-backups", _three_bases, _bases_pruned),
    _case("restore-db", _damage, _restored),
    _case("restore-rows", _rows_gone, _rows_back),
    _case("restore-test", _two_to_restore, _told),
    _case("base-backup", _no_base, base_there),
    _case("restore-db-pitr", _moment_passed, _recovered),
    _case("database-corruption", _broken_index, _mended, answer=("decide", "-i", "way=reindex")),
)
