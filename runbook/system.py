"""Systems: the typed things that an environment names and a plan acts on.

Owns one model per system type, the registry :data:`SYSTEMS`, and the kinds of field that systems and the inputs of
actions share. Promises: unknown fields are refused; a secret is held as a reference, never as a value;
:meth:`System.public` gives what templates may see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from runbook.host import LOCAL, Compose, Docker, Local, Ssh, parse_host
from runbook.operation import Connection, Json
from runbook.secret import FromAws, FromCommand, FromEnv, FromEscrow, FromFile, SecretRef
from runbook.units import parse_duration

_EXPECTED = "expected {env: NAME}, {file: PATH}, {command: [...]} or {aws_secret: NAME}; never the value itself"


def parse_secret(value: object) -> SecretRef:
    """A reference to a secret from its written form; a literal value is refused, and is not shown."""
    match value:
        case FromEnv() | FromFile() | FromCommand() | FromAws() | FromEscrow():
            return value
        case {"env": str(name), **more} if not more and name:
            return FromEnv(name)
        case {"file": str(path), **more} if not more and path:
            return FromFile(path)
        case {"command": [*argv], **more} if not more and argv and all(isinstance(part, str) for part in argv):
            return FromCommand(tuple(argv))
        case {"aws_secret": str(name), **more} if not more and name:
            return FromAws(name)
    raise ValueError(_EXPECTED)


def secrets_in(value: object) -> Iterator[SecretRef]:
    """The references to secrets in a system's fields, or anywhere below a value of a plan; those of templates are not known yet."""
    match value:
        case FromEnv() | FromFile() | FromCommand() | FromAws() | FromEscrow():
            yield value
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_in(getattr(value, name))
        case Mapping():
            try:
                found = parse_secret(value)
            except ValueError:
                for part in value.values():
                    yield from secrets_in(part)
            else:
                if "{{" not in str(found):
                    yield found
        case list() | tuple():
            for part in value:
                yield from secrets_in(part)


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _schema(*forms: dict[str, Json]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(forms)})


def _only(**properties: dict[str, Json]) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [key for key in properties if key != "via"],
        "additionalProperties": False,
    }


_TEXT: dict[str, Json] = {"type": "string"}
_VIA: dict[str, Json] = {"description": "How that host is reached: another host", "type": ["string", "object"]}
HostField: TypeAlias = Annotated[
    Local | Docker | Compose | Ssh,
    BeforeValidator(parse_host),
    _schema(
        {"const": "local"},
        _only(docker=_TEXT, via=_VIA),
        _only(compose=_only(project=_TEXT, service=_TEXT), via=_VIA),
        _only(ssh=_TEXT, via=_VIA),
    ),
]
SecretField: TypeAlias = Annotated[
    FromEnv | FromFile | FromCommand | FromAws | FromEscrow,
    BeforeValidator(parse_secret),
    _schema(
        _only(env=_TEXT), _only(file=_TEXT), _only(command={"type": "array", "items": _TEXT}), _only(aws_secret=_TEXT)
    ),
]
DurationField: TypeAlias = Annotated[str, AfterValidator(_duration)]
"""A duration as a person writes it (``5m``), kept as it is written; what uses it counts the seconds."""


class System(BaseModel):
    """What every system has: its type. ``key`` is its name in the environment."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )
    kind: ClassVar[str]
    hidden: ClassVar[frozenset[str]] = frozenset({"key", "type"})
    """Fields that templates don't see."""
    key: str = Field(default="", exclude=True, description="Its name in the environment; set by the loader")

    def public(self) -> Mapping[str, Json]:
        """The fields that templates may see: text, numbers and lists, never secrets or headers."""
        seen: dict[str, Json] = {"name": self.key, "type": self.kind}
        for key in type(self).model_fields:
            value = getattr(self, key)
            if key not in self.hidden and isinstance(value, str | int | bool):
                seen[key] = value
        return seen


class Postgres(System):
    """A PostgreSQL cluster and the database in it that a plan is about."""

    kind: ClassVar[str] = "postgres"
    type: Literal["postgres"]
    host: HostField = Field(default=LOCAL, description="Where its client and server programs run")
    address: str = Field(default="", description="Host name, address or socket directory, as seen from here")
    port: int = Field(default=5432, ge=1, le=65535)
    user: str = Field(description="A role that may do what the plan does (a superuser for a restore)")
    database: str = Field(description="The database that the plan is about")
    password: SecretField | None = None
    binaries: str = Field(default="", description="Directory of pg_dump and its kin; default: the PATH's")
    data_directory: str = Field(default="", description="PGDATA on the host; default: what the server says")
    archive: str = Field(default="", description="Store URL of the WAL archive, for point-in-time recovery")

    def connection(self, *, application: str, database: str = "", user: str = "") -> Connection:
        """How the engine reaches ``database`` (default: the system's own) as ``user`` (default: the system's own)."""
        return Connection(
            host=self.host,
            address=self.address,
            port=self.port,
            user=user or self.user,
            database=database or self.database,
            password=self.password,
            application=application,
        )


class Redis(System):
    """A Redis or Valkey server."""

    kind: ClassVar[str] = "redis"
    type: Literal["redis"]
    host: HostField = LOCAL
    address: str = ""
    port: int = Field(default=6379, ge=1, le=65535)
    password: SecretField | None = None
    data_directory: str = ""


class ComposeProject(System):
    """The containers of a Compose project, found by their labels."""

    kind: ClassVar[str] = "compose"
    type: Literal["compose"]
    project: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="As in the label com.docker.compose.project")
    files: tuple[str, ...] = ()
    host: HostField = LOCAL


class Volume(System):
    """A named Docker volume."""

    kind: ClassVar[str] = "volume"
    type: Literal["volume"]
    name: str = Field(description="The volume's full name, project prefix included")
    host: HostField = LOCAL


class Store(System):
    """A place where backups are kept."""

    kind: ClassVar[str] = "store"
    type: Literal["store"]
    url: str = Field(pattern=r"^(file|s3|az|gs)://", description="file:///path, s3://bucket/prefix, az://…, gs://…")
    endpoint: str = ""
    region: str = ""
    access_key: SecretField | None = None
    secret_key: SecretField | None = None
    encrypt_to: str = Field(default="", description="Recipient to whom new artifacts are encrypted")

    @property
    def scheme(self) -> str:
        """``file``, ``s3``, ``az`` or ``gs``."""
        return self.url.split("://", 1)[0]

    @property
    def directory(self) -> str:
        """The directory of a ``file://`` store, without a trailing slash."""
        if self.scheme != "file":
            raise ValueError(f"{self.url} is not a directory")
        return re.sub(r"(?<=.)/+$", "", self.url.removeprefix("file://"))


class Machine(System):
    """A host as a thing that a plan acts on."""

    kind: ClassVar[str] = "host"
    type: Literal["host"]
    at: HostField = LOCAL


class Web(System):
    """A web service."""

    kind: ClassVar[str] = "web"
    hidden = System.hidden | {"headers"}
    type: Literal["web"]
    url: str = Field(pattern=r"^https?://")
    headers: dict[str, str | SecretField] = Field(default_factory=dict)


class Channel(System):
    """Where notifications go: a URL as the notification library writes them, usually a secret."""

    kind: ClassVar[str] = "channel"
    # a notification URL holds a token, also where it is written out
    hidden = System.hidden | {"url"}
    type: Literal["channel"]
    url: str | SecretField


SYSTEMS: Mapping[str, type[System]] = {
    model.kind: model for model in (Postgres, Redis, ComposeProject, Volume, Store, Machine, Web, Channel)
}
