"""A clock that stands in the past: a certificate is not valid yet, as any is for a machine that came up in 1970."""

from __future__ import annotations

import http.server
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence.program import Program
from tests.trouble.night import DONE, FAILED

PLAN = """\
runbook: 1
name: answers
inputs: {}
systems: {site: web}
environment: {environment: here, systems: {site: {type: web, url: "https://127.0.0.1:PORT"}}}
steps:
  - {id: answers, title: It answers, uses: http.check, on: site, with: {status: 501}, timeout: 10s}
"""
AUTHORITY = """\
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = names
unique_subject = no
[any]
commonName = supplied
[names]
subjectAltName = IP:127.0.0.1
"""


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def certificate(folder: Path, begins: str) -> Path:
    """A certificate for this machine, signed by itself, that is valid from a moment on; its key beside it."""
    folder.mkdir()
    (folder / "ca.cnf").write_text(AUTHORITY)
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    openssl(
        folder,
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        f"/CN={folder.name}",
        "-keyout",
        "key.pem",
        "-out",
        "csr",
    )
    dates = ("-startdate", begins, "-enddate", "21000101000000Z")
    signed = ("-selfsign", "-keyfile", "key.pem", "-in", "csr", "-out", "cert.pem", "-notext", "-batch", *dates)
    openssl(folder, "ca", "-config", "ca.cnf", *signed)
    return folder / "cert.pem"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    made.daemon_threads = True
    yield made
    made.shutdown()
    made.server_close()


def test_a_certificate_from_the_future(site: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    ahead, good = certificate(tmp_path / "ahead", "20990101000000Z"), certificate(tmp_path / "good", "20200101000000Z")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(ahead, ahead.with_name("key.pem"))
    site.socket = tls.wrap_socket(site.socket, server_side=True)
    threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(ahead.read_text() + good.read_text())
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.replace("PORT", str(site.server_address[1])))
    program = Program(tmp_path, {"SSL_CERT_FILE": str(trusted), "NO_COLOR": "1"})
    ran = program.run("apply", plan)
    assert ran.code == FAILED, ran.said
    assert "certificate is not yet valid" in ran.said
    assert re.search(r"the clock here says \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: is that right\?", ran.said)
    assert f"runbook resume {program.last}" in ran.said
    tls.load_cert_chain(good, good.with_name("key.pem"))
    resumed = program.run("resume", program.last)
    assert resumed.code == DONE, resumed.said
