"""A pair in containers changes places: the mark goes into the volume, whether the container runs or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from runbook.actions.postgres.fence import Fence
from runbook.actions.postgres.follow import Follow
from runbook.actions.postgres.promote import Promote
from runbook.actions.postgres.standby_status import StandbyStatus
from runbook.errors import Refused
from runbook.host import Docker
from runbook.system import Postgres
from tests.actions.harness import Stage
from tests.actions.postgres.steps import Steps
from tests.actions.systems import in_file
from tests.fixtures.containers import POSTGRES, ComposeProject, address, exec_in, wait_healthy
from tests.fixtures.pair import eventually

if TYPE_CHECKING:
    from docker.models.containers import Container


pytestmark = pytest.mark.docker

DATA = "/var/lib/postgresql/data"
PASSFILE = f"{DATA}/pgpass"
USER, PASSWORD = "civicq", "correct-horse-battery"
COPY = f"""
set -eu
rm -rf {DATA}/* && pg_basebackup --host="$SOURCE" --username={USER} --pgdata={DATA} --write-recovery-conf --checkpoint=fast
chown -R postgres:postgres {DATA} && chmod 0700 {DATA}"""


def psql(container: Container, statement: str) -> str:
    code, output = exec_in(container, ["psql", "-XAtU", USER, "-d", USER, "-c", statement])
    assert code == 0, output
    return str(output.decode().strip())


@pytest.fixture
def pair(compose_project: Callable[..., ComposeProject]) -> ComposeProject:
    """The services `a`, a primary with ten rows, and `b`, its standby."""
    project = compose_project()
    environment = {"POSTGRES_USER": USER, "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": USER}
    command = ("postgres", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "wal_keep_size=64MB")
    a = project.add("a", image=POSTGRES, command=command, environment=environment, volumes={"a": DATA})
    wait_healthy(a)
    access = f"echo 'host replication all all scram-sha-256' >> {DATA}/pg_hba.conf"
    script = f"{access}; umask 077; echo '*:*:*:*:{PASSWORD}' > {PASSFILE}"
    assert a.exec_run(["sh", "-c", script], user="postgres")[0] == 0
    loaded = psql(a, "SELECT pg_conf_load_time()")
    psql(a, "SELECT pg_reload_conf()")
    eventually(lambda: psql(a, "SELECT pg_conf_load_time()") != loaded)
    psql(a, "CREATE TABLE notes AS SELECT generate_series(1, 10) AS number")
    project.client.containers.run(
        POSTGRES,
        ["sh", "-c", COPY],
        environment={"SOURCE": address(a), "PGPASSWORD": PASSWORD},
        volumes={project.volume("b"): {"bind": DATA, "mode": "rw"}},
        network=project.network.name,
        labels=project.labels("copy"),
        remove=True,
    )
    b = project.add("b", image=POSTGRES, command=command, environment=environment, volumes={"b": DATA})
    wait_healthy(b)
    eventually(lambda: psql(b, "SELECT status FROM pg_stat_wal_receiver") == "streaming")
    return project


def systems(pair: ComposeProject, folder: Path) -> tuple[Postgres, Postgres]:
    secret = in_file(folder / "password", PASSWORD)
    one, other = (
        Postgres(
            type="postgres",
            key=service,
            host=Docker(str(pair.containers[service].name)),
            user=USER,
            database=USER,
            password=secret,
        )
        for service in ("a", "b")
    )
    return one, other


def test_a_pair_in_containers_changes_places(stage: Stage, pair: ComposeProject, tmp_path: Path) -> None:
    steps, (a, b) = Steps(stage, []), systems(pair, tmp_path)
    lag = steps.step(StandbyStatus(), b, "lag", primary=a, streaming=True, max_behind="1MB")
    assert lag.source == "streaming"
    with pytest.raises(Refused, match="takes writes"):
        steps.planned(Promote(), b, "promote", primary=a)
    psql(pair.containers["a"], "INSERT INTO notes VALUES (11)")

    fenced = steps.step(Fence(), a, "fence", clean=True)
    assert steps.performed == ["remember", "mark", "stop", "control"]
    assert (fenced.data_directory, fenced.clean, fenced.how) == (DATA, True, "marked and stopped")
    given = {"primary": a, "directory": fenced.data_directory, "end": fenced.end, "lossless": True}
    promoted = steps.step(Promote(), b, "promote", **given)
    assert (promoted.timeline, promoted.lost_nothing) == (2, True)
    assert psql(pair.containers["b"], "SELECT count(*) FROM notes") == "11"

    with pytest.raises(Refused, match="`end` is not given"):
        steps.planned(Follow(), a, "follow", primary=b, directory=fenced.data_directory)
    told = {"address": address(pair.containers["b"]), "passfile": PASSFILE, "directory": fenced.data_directory}
    followed = steps.step(Follow(), a, "follow", primary=b, end=fenced.end, **told)
    assert steps.performed == ["settings", "start", "streaming"]
    assert followed.timeline == 2
    psql(pair.containers["b"], "INSERT INTO notes VALUES (12)")
    eventually(lambda: psql(pair.containers["a"], "SELECT count(*) FROM notes") == "12")


def test_one_that_is_down_is_marked_beside_and_comes_back_read_only(
    stage: Stage, pair: ComposeProject, tmp_path: Path
) -> None:
    steps, (a, b) = Steps(stage, []), systems(pair, tmp_path)
    # while it runs it is not down, whatever somebody attests
    elsewhere = a.model_copy(update={"data_directory": "/nowhere", "password": None})
    claims: tuple[tuple[Fence | Promote, Postgres, dict[str, object]], ...] = (
        (Fence(), elsewhere, {"attested": "me"}),
        (Promote(), b, {"attested": "me", "primary": elsewhere}),
    )
    for action, on, claimed in claims:
        with pytest.raises(Refused, match="its container runs"):
            steps.planned(action, on, "claim", **claimed)
    # where its container is gone, or the engine doesn't answer, nothing is known of it: a person has to say so
    gone = a.model_copy(update={"host": Docker("rb-nothing-there")})
    with pytest.raises(Refused, match="cut off from us alone"):
        steps.planned(Fence(), gone, "claim")
    assert steps.planned(Fence(), gone, "claim", attested="me") == ()
    old = pair.containers["a"]
    old.kill()
    old.wait()
    with pytest.raises(Refused, match="a restart would take writes"):
        steps.planned(Promote(), b, "promote", primary=a)
    fenced = steps.step(Fence(), a, "fence")
    assert steps.performed == ["remember", "mark", "control"]
    assert (fenced.clean, fenced.end) == (False, "")
    old.start()  # a person, or a restart policy
    wait_healthy(old)
    assert psql(old, "SELECT pg_is_in_recovery()") == "t"
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        psycopg.connect(f"host={address(old)} user={USER} password={PASSWORD} dbname={USER}").execute(
            "INSERT INTO notes VALUES (0)"
        )
    assert steps.step(Promote(), b, "promote", primary=a).timeline == 2


def test_one_that_its_restart_policy_starts_again_and_again_is_fenced(
    stage: Stage, pair: ComposeProject, tmp_path: Path
) -> None:
    """Nothing can be run in it; its data is found on its volume. It comes back read-only."""
    steps, (a, _) = Steps(stage, []), systems(pair, tmp_path)
    old = pair.containers["a"]
    old.update(restart_policy={"Name": "always"})
    broken = f"echo nonsense > {DATA}/broken.conf; echo \"include 'broken.conf'\" >> {DATA}/postgresql.conf"
    exec_in(old, ["sh", "-c", broken], user="postgres")
    exec_in(old, ["pg_ctl", "stop", "-m", "immediate", "-D", DATA], user="postgres")

    def dies_again() -> bool:
        old.reload()
        return old.status == "restarting" and old.attrs["RestartCount"] > 6  # it waits for 12.8 s by then

    eventually(dies_again)
    fenced = steps.step(Fence(), a, "fence")
    assert steps.performed == ["remember", "stop", "mark", "control"]
    assert (fenced.data_directory, fenced.how, fenced.clean) == (DATA, "marked and stopped", False)
    pair.client.containers.run(POSTGRES, ["sh", "-c", f"> {DATA}/broken.conf"], volumes_from=[str(old.id)], remove=True)
    old.start()
    wait_healthy(old)
    assert psql(old, "SELECT pg_is_in_recovery()") == "t"
