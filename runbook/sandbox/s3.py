"""An S3 endpoint: SeaweedFS in one process, every port pinned to this machine.

Owns its options and its bucket. Promises: the keys travel in the environment, in no argv; nothing listens beyond
127.0.0.1; it reports nothing to its makers; a bucket that isn't there isn't made by an upload, and one that isn't empty
isn't deleted (except, unlike at AWS, one with versioning: SeaweedFS doesn't count versions).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from runbook.sandbox.credentials import mint
from runbook.sandbox.layout import Layout
from runbook.sandbox.part import Wait, environment
from runbook.sandbox.ports import LOOPBACK
from runbook.sandbox.process import Command, ProcessId, Step

BUCKET = "docs"
REGION = "us-east-1"

PORTS: Mapping[str, int] = {
    "s3": 0,
    "s3.grpc": 0,
    "s3.master": 0,
    "s3.master.grpc": 0,
    "s3.volume": 0,
    "s3.volume.grpc": 0,
    "s3.filer": 0,
    "s3.filer.grpc": 0,
    "s3.admin": 10_000,  # its worker looks for the admin's gRPC 10,000 ports up, whatever the options say
}
"""The ports that it needs, as :func:`runbook.sandbox.ports.claim` takes them."""


@dataclass(frozen=True, slots=True)
class S3:
    """The server in ``layout``, run from ``program``; ``ports`` has the names of :data:`PORTS`."""

    layout: Layout
    program: Path
    version: str
    ports: Mapping[str, int]

    name = "s3"
    ending = (Step(signal.SIGTERM, 30.0), Step(signal.SIGKILL, 30.0))

    @property
    def home(self) -> Path:
        """Its data and logs."""
        return self.layout.home(self.name)

    @property
    def address(self) -> str:
        """The endpoint."""
        return f"http://{LOOPBACK}:{self.ports['s3']}"

    @property
    def access_key_file(self) -> Path:
        """The access key's id."""
        return self.layout.secret("s3-access-key")

    @property
    def secret_key_file(self) -> Path:
        """The secret access key."""
        return self.layout.secret("s3-secret-key")

    def prepare(self) -> None:
        """Make its directories and its keys."""
        for name in ("data", "log"):
            self.layout.account.own_directory(self.home / name)
        mint(self.access_key_file)
        mint(self.secret_key_file)

    def command(self) -> Command:
        """The server with all that it would choose by itself pinned, and all that isn't S3 switched off."""
        port = self.ports
        options = {
            "dir": str(self.home / "data"),
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "bucket": BUCKET,
            "s3.port": port["s3"],
            "s3.port.grpc": port["s3.grpc"],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": str(self.layout.sockets / "s3.sock"),
            "s3.allowDeleteBucketNotEmpty": "false",
            "s3.autoCreateBucket": "false",
            "master.port": port["s3.master"],
            "master.port.grpc": port["s3.master.grpc"],
            "master.telemetry": "false",
            "volume.port": port["s3.volume"],
            "volume.port.grpc": port["s3.volume.grpc"],
            "volume.preStopSeconds": 0,
            "filer.port": port["s3.filer"],
            "filer.port.grpc": port["s3.filer.grpc"],
            "filer.localSocket": str(self.layout.sockets / "filer.sock"),
            "admin.port": port["s3.admin"],
            "admin.port.grpc": port["s3.admin"] + 10_000,
            "admin.ui": "false",
            "webdav": "false",
        }
        argv = [f"-logdir={self.home / 'log'}", "mini", *(f"-{name}={value}" for name, value in options.items())]
        keys = {
            "AWS_ACCESS_KEY_ID": mint(self.access_key_file).reveal(),
            "AWS_SECRET_ACCESS_KEY": mint(self.secret_key_file).reveal(),
        }
        return Command((str(self.program), *argv), environment(self.home, **keys), self.home, self.layout.account)

    def ready(self, wait: Wait) -> str:
        """Wait until objects can be read and written; the version of its wheel.

        The gateway says that it is healthy sooner than that: the bucket comes some 100 ms later, and the volumes may
        come as much as five seconds later, when their server has reported to the master.
        """
        wait.until(lambda: http_get(self.ports["s3"], "/healthz")[0] == 200)
        wait.until(lambda: http_get(self.ports["s3.filer"], f"/buckets/{BUCKET}/")[0] == 200)
        wait.until(self._has_volumes)
        return self.version

    def _has_volumes(self) -> bool:
        status, body = http_get(self.ports["s3.master"], "/dir/status")
        return status == 200 and int(json.loads(body)["Topology"]["Max"]) > 0

    def found(self) -> ProcessId | None:
        """Nobody but the stack starts it."""
        return None

    def left(self) -> tuple[ProcessId, ...]:
        """Nothing but the server itself."""
        return ()

    def cleared(self) -> bool:
        """Remove the sockets that it leaves in ``/tmp``, a place that no option changes."""
        ports = {name: self.ports[f"s3.{name}.grpc"] for name in ("master", "volume", "filer")}
        ports |= {"s3": self.ports["s3.grpc"], "admin": self.ports["s3.admin"] + 10_000}
        for name, port in ports.items():
            socket = Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock")  # noqa: S108 - named by SeaweedFS
            if socket.is_socket() and socket.stat().st_uid == self.layout.account.owner:
                socket.unlink()
        return True


def http_get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of what a server on this machine answers to a GET; status 0 if nothing comes within 3 s."""
    connection = HTTPConnection(LOOPBACK, port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
