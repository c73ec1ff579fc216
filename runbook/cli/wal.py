"""``runbook wal``: what a PostgreSQL server runs to archive its WAL, and what fetches it for a recovery."""

from __future__ import annotations

from pathlib import Path

import click

_SEGMENT_BYTES = 16 * 1024 * 1024

access = click.option(
    "--access",
    "access_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file of mode 0600 that says where the archive is: {url, endpoint, region, access_key, secret_key}, JSON.",
)
segment_bytes = click.option(
    "--segment-bytes",
    type=click.IntRange(min=1 << 20),
    default=_SEGMENT_BYTES,
    show_default=True,
    help="wal_segment_size.",
)


@click.group()
def command() -> None:
    """Archive WAL segments and fetch them: called by servers and by plans."""


@command.command()
@access
@segment_bytes
@click.argument("path", type=click.Path(path_type=Path))
def push(access_file: Path, segment_bytes: int, path: Path) -> None:
    """Archive one file (archive_command: `… push --access FILE %p`).

    Ends with 0 only when the archive holds exactly this file. A name that holds something else is never replaced.
    """
    from runbook.walstore.access import read_access
    from runbook.walstore.push import push as put

    put(read_access(access_file).open(), path, segment_bytes)


@command.command()
@access
@segment_bytes
@click.option(
    "--ahead", type=click.IntRange(min=1, max=256), default=16, show_default=True, help="Segments in the spool."
)
@click.argument("spool", type=click.Path(path_type=Path, file_okay=False))
def feed(access_file: Path, segment_bytes: int, ahead: int, spool: Path) -> None:
    """Fetch segments into SPOOL ahead of a recovery, in the background, until SPOOL is removed.

    restore_command renames out of it (`runbook wal restore-command SPOOL`).
    """
    from runbook.walstore.access import read_access
    from runbook.walstore.daemon import detach

    click.echo(detach(read_access(access_file), spool, segment_bytes=segment_bytes, ahead=ahead))


@command.command()
@click.argument("spool", type=click.Path(path_type=Path, file_okay=False))
def end(spool: Path) -> None:
    """End the feeding of SPOOL, and remove it; returns when its feeder is gone. Done already is a success."""
    from runbook.walstore.daemon import end as ended

    ended(spool)


@command.command()
@access
@segment_bytes
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def histories(access_file: Path, segment_bytes: int, directory: Path) -> None:
    """Archive the histories of timelines that DIRECTORY (PGDATA/pg_wal) holds; it has to hold one.

    A cluster that was promoted with archiving off never archives its history by itself.
    """
    from runbook.walstore.access import read_access
    from runbook.walstore.push import push_histories

    push_histories(read_access(access_file).open(), directory, segment_bytes)


@command.command()
def program() -> None:
    """The path of this program: what an archive_command has to say."""
    from runbook.transports.own_program import own_program

    click.echo(own_program())


@command.command()
@access
@click.option("--waldump", default="", help="A pg_waldump, which has to read the segment to its end.")
@click.argument("name")
def has(access_file: Path, waldump: str, name: str) -> None:
    """Whether the archive holds a file of that name, whole and as it was archived: exit code 0, else 1."""
    import subprocess
    import tempfile

    from runbook.errors import ExitCode
    from runbook.walstore.access import read_access
    from runbook.walstore.store import Damaged, Unavailable

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read_access(access_file).open().fetch(name, Path(folder) / Path(name).name)
            if found and waldump:
                read = [waldump, f"--path={folder}", name]
                found = subprocess.run(read, stdout=subprocess.DEVNULL, check=False).returncode == 0
        except (Damaged, Unavailable) as error:
            click.echo(str(error), err=True)
            found = False
        else:
            if not found:
                click.echo(f"the archive has no {name} (yet), or it can't be read to its end", err=True)
    if not found:
        raise click.exceptions.Exit(ExitCode.FAILED.value)


@command.command()
@access
@click.option("--cluster", default="", help="The system identifier of the cluster whose WAL it has to be.")
@click.argument("first", default="")
def readable(access_file: Path, cluster: str, first: str) -> None:
    """Whether the archive can be listed and read: its newest segment from FIRST on comes whole. None there is no fault."""
    from runbook.walstore.access import read_access
    from runbook.walstore.summary import newest_comes

    newest_comes(read_access(access_file).open(), first, cluster)


@command.command("restore-command")
@click.argument("spool", type=click.Path(file_okay=False))
def restore_command(spool: str) -> None:
    """The restore_command for a spool that `feed` fills."""
    from runbook.actions.postgres.wal_spool import restore_command as text

    click.echo(text(spool))


@command.command("list")
@access
@segment_bytes
@click.option("--lines", "as_lines", is_flag=True, help="As lines, for postgres.check_archive.")
def listed(access_file: Path, segment_bytes: int, *, as_lines: bool) -> None:
    """What an archive holds: its stretches of segments, its gaps, its newest file; one JSON object."""
    import json

    from runbook.cli.screen import put
    from runbook.errors import Problem, Refused
    from runbook.walstore.access import read_access
    from runbook.walstore.listing import lines
    from runbook.walstore.store import Damaged, Unavailable
    from runbook.walstore.summary import summary

    archive = read_access(access_file).open()
    try:
        if as_lines:
            for line in lines(archive, segment_bytes):
                put(line)
        else:
            put(json.dumps(summary(archive, segment_bytes)))
    except (Damaged, Unavailable) as error:
        fix = "Check the archive's url, endpoint, region and keys, and what these may read."
        raise Refused(Problem("E637", "WAL can't be fetched", f"{error}.", fix)) from None
