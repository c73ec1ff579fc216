"""What a one-off container is made of: the image and the volumes of a stopped container, a program, and what that may have.

Owns the arguments of the Docker call ``run``, and the making of the container. Promises: without a word it runs as root, without
a network; a secret is in no argument and in nothing that the engine tells of the container: it is put into the container's own
layer as a file, which is gone before the program begins, and is the program's environment alone.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbook.late import Results, document
from runbook.operation import Call, Json
from runbook.secret import SecretRef
from runbook.transports.docker import NOT_FOUND, DockerEngine, asked, no_secret
from runbook.transports.trouble import trouble

if TYPE_CHECKING:
    from docker.models.containers import Container

ROOT = "0:0"
LOOK_FIX = "docker info    # does the Engine still have room, and the image?"
LONGEST_ASKED = 64 * 1024
"""Bytes of a file whose owner is asked for: the engine sends it whole."""
OWN = "own"
_SECRETS = ".runbook-secrets"
_TOLD = f"""\
for one in /{_SECRETS}/*; do
  export "${{one##*/}}=$(cat "$one")"
  rm -f "$one"
done
exec "$@\""""
Reveal = Callable[[SecretRef], str]


@dataclass(frozen=True, slots=True)
class OneOff:
    """What is asked for. ``user_of``: a file whose owner the program runs as, '' = root. ``networked``: on the stopped one's
    networks. ``secrets``: variables of the program's environment.
    """

    argv: tuple[str, ...]
    labels: Mapping[str, str]
    user_of: str
    networked: bool
    secrets: Mapping[str, str]


def read_one_off(call: Call, results: Results, reveal: Reveal) -> OneOff:
    """The arguments of the call, with late values and secrets in their places."""
    given = dict(call.arguments.items)
    words = document(given.get("argv", ()), results, no_secret)
    return OneOff(
        argv=tuple(str(word) for word in words) if isinstance(words, list) else (),
        labels=labels_of(call, results),
        user_of=str(document(given.get("user_of", ""), results, no_secret)),
        networked=given.get("network") == OWN,
        secrets=_texts(document(given.get("secrets"), results, reveal)),
    )


def labels_of(call: Call, results: Results) -> dict[str, str]:
    """The labels by which it is found again."""
    return _texts(document(dict(call.arguments.items).get("labels"), results, no_secret))


def create(engine: DockerEngine, source: Container, wanted: OneOff) -> Container:
    """The container, not started yet. Raises :class:`Trouble` for a definite no, :class:`Unreachable`."""
    from docker.errors import APIError

    user = _owner(source, wanted.user_of) if wanted.user_of else ROOT
    argv = ["sh", "-c", _TOLD, "sh", *wanted.argv] if wanted.secrets else [*wanted.argv]
    settings = source.attrs["HostConfig"]

    def make() -> Container | APIError:
        try:
            one = engine.client().containers.create(
                str(source.attrs["Image"]),
                argv[1:],
                entrypoint=argv[:1],
                user=user,
                volumes_from=[str(source.id)],
                network_mode=settings["NetworkMode"] if wanted.networked else "none",
                extra_hosts=settings.get("ExtraHosts") if wanted.networked else None,
                dns=settings.get("Dns") if wanted.networked else None,
                labels=dict(wanted.labels),
                healthcheck={"test": ["NONE"]},
            )
        except APIError as error:
            return error
        try:
            if wanted.networked:
                _join(engine, source, one)
            if wanted.secrets:
                one.put_archive("/", _packed(wanted.secrets, user))
        except APIError as error:
            one.remove(force=True)
            return error
        return one

    made = asked(make)
    if isinstance(made, APIError):
        detail = f"a one-off container beside {source.name}: {made.explanation or made}"
        raise trouble("E330", "the Docker Engine said no", detail, LOOK_FIX)
    return made


def _join(engine: DockerEngine, source: Container, one: Container) -> None:
    """The networks of the stopped container beside its first; the host's, or another container's, has no others."""
    mode = str(source.attrs["HostConfig"]["NetworkMode"])
    if mode == "host" or mode.startswith("container:"):
        return
    first = {mode, "bridge"} if mode == "default" else {mode}
    for name in sorted(set(source.attrs["NetworkSettings"]["Networks"] or ()) - first):
        engine.client().networks.get(name).connect(one)


def _owner(source: Container, path: str) -> str:
    """``uid:gid`` of a small file in the stopped container: what the engine sends of it says so."""
    from docker.errors import APIError

    def get() -> bytes | None:
        try:
            stream, told = source.get_archive(path)
        except APIError as error:
            if error.status_code != NOT_FOUND:
                raise
            return None
        if told is None or int(told["size"]) > LONGEST_ASKED:
            raise trouble("E330", "the Docker Engine said no", f"{path} is too large to be asked for.", LOOK_FIX)
        return b"".join(stream)

    sent = asked(get)
    if sent is not None:
        with suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(sent)) as packed:
            member = packed.next()
            if member is not None:
                return f"{member.uid}:{member.gid}"
    raise trouble(
        "E330",
        "the Docker Engine said no",
        f"{path} of {source.name} can't be seen: as whom to run beside it can't be told.",
        f"docker cp {source.name}:{path} - | tar -tv    # is it there?",
    )


def _packed(secrets: Mapping[str, str], user: str) -> bytes:
    """A folder for the program's user alone, with a file for each secret."""
    uid, gid = (int(part) for part in user.split(":"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, value in (("", ""), *secrets.items()):
            entry = tarfile.TarInfo(f"{_SECRETS}/{name}".rstrip("/"))
            entry.uid, entry.gid, entry.mode = uid, gid, 0o400 if name else 0o700
            entry.type = tarfile.REGTYPE if name else tarfile.DIRTYPE
            data = value.encode()
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _texts(value: Json) -> dict[str, str]:
    return {key: str(one) for key, one in value.items()} if isinstance(value, dict) else {}
