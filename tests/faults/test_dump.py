"""The faults of the guides' dumps, 12, 13 and 15: each first as the guide has it, then what the program does there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.evidence.witness import until
from tests.faults.house import BACKUP, COUNTS, DATABASE, RESTORE, SECRET, VERIFY, House
from tests.fixtures.standstill import AFTER_ALL_ROWS, BEFORE_ALL_ROWS, standstill

FAILED = 1
WITHIN_S = 60
HALF_A_DUMP = 50_000


def left(house: House) -> list[str]:
    """What lies in the store."""
    return sorted(path.name for path in house.store.iterdir())


def test_fault_12_a_dump_that_failed_looks_like_a_backup(house: House) -> None:
    house.server.sql("CREATE ROLE weak LOGIN SUPERUSER PASSWORD 'unknown'") if not house.server.sql(
        "SELECT 1 FROM pg_roles WHERE rolname = 'weak'"
    ) else None
    guide = house.guide(
        f'set -e; pg_dump -U weak -d {DATABASE} --clean --if-exists | gzip > "$STORE/civicq-db.sql.gz"\n'
        'if [ -f "$STORE/civicq-db.sql.gz" ]; then echo created; else exit 1; fi'
    )
    assert guide.returncode == 0, "no pipefail: the password was refused, and the backup was created"
    assert (house.store / "civicq-db.sql.gz").stat().st_size == 20
    (house.store / "civicq-db.sql.gz").unlink()

    house.role = "weak"
    ran = house.apply(BACKUP.replace("FORMAT", "format: custom"))
    assert ran.code == FAILED, ran.said
    assert left(house) == []


def test_fault_12_a_dump_that_is_cut_off_has_no_name(house: House) -> None:
    """The guide writes straight to the final name, so what was cut off is the newest backup."""
    house.server.sql(
        "CREATE TABLE slow AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 5000) n", DATABASE
    )
    house.server.sql("SELECT lo_from_bytea(0, 'scanned')", DATABASE)
    dump = f'pg_dump -U {house.role} -d {DATABASE} -Fc -Z9 > "$STORE/cl_backup.dump" & '
    waits = f"psql -U {house.role} -d postgres -qAtc \"SELECT 'it waits' FROM pg_locks WHERE NOT granted\""
    killed = f'for n in $(seq 500); do {waits} | grep -q "it waits" && break; sleep 0.1; done; kill -9 $!; true'
    with standstill(house.server, DATABASE, AFTER_ALL_ROWS):
        guide = house.guide(dump + killed)
    assert guide.returncode == 0
    assert left(house) == ["cl_backup.dump"], "under the name of a whole one"
    assert (house.store / "cl_backup.dump").stat().st_size > HALF_A_DUMP
    (house.store / "cl_backup.dump").unlink()

    cut_off_in_the_middle(house, BACKUP.replace("FORMAT", "format: custom, compress: 9"))
    sizes = {path.name: path.stat().st_size for path in house.store.iterdir()}
    assert max(sizes.values()) > HALF_A_DUMP
    assert all(".partial" in name for name in sizes), f"{sizes}: nothing that could be taken for a backup"
    again = house.program.run("resume", house.program.last)
    assert again.code == 0, again.said
    assert house.apply(VERIFY).code == 0


def cut_off_in_the_middle(house: House, plan: str) -> None:
    """Begin a backup, and let the server end its sessions, as a restart would, when it has written the rows and is not done."""
    with standstill(house.server, DATABASE, BEFORE_ALL_ROWS.format("users_id_seq")) as before:
        engine = house.begin(plan)
        goes_on = lambda: engine.poll() is None  # noqa: E731 - asked twice
        before.reached(goes_on)
        with standstill(house.server, DATABASE, AFTER_ALL_ROWS) as middle:
            before.let_go()
            middle.reached(goes_on)
            middle.cut_off()
            assert engine.wait(WITHIN_S) == FAILED, (house.folder / "output").read_text()


def spoil(path: Path, how: str) -> None:
    """Cut off a part of the file, or turn one bit in its middle."""
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) * 3 // 4 :]
    else:
        data[len(data) * 3 // 4] ^= 0x01
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("how", "compress"), [("cut", 6), ("flip", 6), ("flip", 0), ("cut", 0)])
def test_fault_13_size_and_listing_prove_nothing(how: str, compress: int, house: House) -> None:
    path = house.back_up(f"format: custom, compress: {compress}")
    spoil(path, how)
    guide = house.guide(f'[ $(stat -c%s "{path}") -ge 1000 ] && pg_restore -l "{path}" > /dev/null && echo fine')
    assert guide.stdout == b"fine\n"
    if (how, compress) == ("flip", 0):
        read = house.guide(f'pg_restore -f /dev/null "{path}" && echo fine')
        assert read.stdout == b"fine\n", "not even reading it whole finds a bit in data that is not compressed"

    live = house.oid()
    assert house.apply(VERIFY).code == FAILED
    assert house.apply(RESTORE).code == FAILED
    assert not house.program.changed_anything()
    assert (house.oid(), house.rows()) == (live, COUNTS)


def test_fault_15_secrets_stand_in_no_argument_and_no_file(house: House) -> None:
    seen: set[str] = set()
    over = threading.Event()
    watch = threading.Thread(target=watch_arguments, args=(seen, over))
    watch.start()
    try:
        with standstill(house.server, DATABASE, BEFORE_ALL_ROWS.format("users_id_seq")) as still:
            engine = house.begin(BACKUP.replace("FORMAT", "format: custom, compress: 9"))
            still.reached(lambda: engine.poll() is None)
            ours = f"port={house.server.port}"
            until(lambda: any("pg_dump" in words and ours in words for words in tuple(seen)), WITHIN_S, "it is seen")
        assert engine.wait(WITHIN_S) == 0, (house.folder / "output").read_text()
    finally:
        over.set()
        watch.join()
    assert not [words for words in seen if SECRET in words]
    for file in (f for place in (house.store, house.program.state) for f in place.rglob("*") if f.is_file()):
        assert SECRET.encode() not in file.read_bytes(), file
        assert file.stat().st_mode & 0o077 == 0, f"{file} can be read by others"
    assert (house.store / str(house.program.outputs("dump")["artifact"]["name"])).exists()


def watch_arguments(seen: set[str], over: threading.Event) -> None:
    """Every command line of this machine, again and again."""
    while not over.is_set():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
        time.sleep(0.005)
