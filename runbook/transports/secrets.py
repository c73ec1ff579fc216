"""Secrets, read when they are used, from the place that a reference names.

Owns :class:`SecretStore`: environment, files, commands, AWS Secrets Manager, and the escrow below the run's directory. Promises:
every value that it reveals is known to the redactor before it is handed out; a file that others may read is refused; no
message holds a value or what a command printed.
"""

from __future__ import annotations

import os
import secrets as randomness
import stat
import string
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import assert_never

from runbook.secret import FromAws, FromCommand, FromEnv, FromEscrow, FromFile, Redactor, Secret, SecretRef
from runbook.transports.bound import Bound
from runbook.transports.commands import run_bounded
from runbook.transports.durable import sync_folder, write_durably
from runbook.transports.environment import allowed_environment
from runbook.transports.trouble import Trouble, trouble

LONGEST_SECRET = 65_536
"""Bytes; what is longer is taken for a mistake."""
COMMAND_TIMEOUT_S = 30.0
ALPHABET = string.ascii_letters + string.digits
"""Letters and digits only: such a password needs no quoting in any file or URL."""
_SUMMARY = "a secret can't be read"
_LOOK = "look at what it gives, as the user that runs runbook: a secret is one text"


class SecretStore:
    """Reveals secrets, and mints those of the run's escrow."""

    def __init__(self, run_directory: Path, redactor: Redactor) -> None:
        self._escrow = run_directory / "escrow"
        self._redactor = redactor

    @property
    def redactor(self) -> Redactor:
        """What knows every secret that was revealed."""
        return self._redactor

    def reveal(self, ref: SecretRef) -> Secret:
        """The value, known to the redactor from now on. Raises :class:`Trouble`."""
        secret = Secret(self._read(ref))
        self._redactor.learn(secret)
        return secret

    def watch_for(self, refs: Iterable[SecretRef]) -> None:
        """Let the redactor know, before their first use, those that cost nothing to read: variables, files, what the run minted.

        A command or a service is asked when its secret is used, and not before. What can't be read now is told then.
        """
        minted = sorted(self._escrow.glob("*")) if self._escrow.is_dir() else []
        for ref in (*refs, *(FromEscrow(path.name) for path in minted)):
            if isinstance(ref, FromEnv | FromFile | FromEscrow):
                with suppress(Trouble):
                    self.reveal(ref)

    def generate(self, name: str, length: int) -> bool:
        """Mint the escrowed secret ``name``; False if it was there, and is kept. Raises :class:`Trouble`."""
        path = self._escrow_path(name)
        try:
            self._escrow.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._escrow.parent)
            if path.exists():
                self.reveal(FromEscrow(name))
                return False
            value = "".join(randomness.choice(ALPHABET) for _ in range(length))
            self._redactor.learn(Secret(value))
            write_durably(path, value.encode(), mode=0o600)
        except OSError as error:
            raise trouble(
                "E372", "a secret can't be kept", f"{path}: {error.strerror}.", "Make room, and resume."
            ) from None
        return True

    def _read(self, ref: SecretRef) -> str:
        match ref:
            case FromEnv(name):
                value = os.environ.get(name, "")
                if not value:
                    raise trouble("E370", _SUMMARY, f"The environment variable {name} is not set.", f"export {name}=…")
                return _checked(os.fsencode(value), f"the environment variable {name}")
            case FromFile(path):
                return _read_file(Path(path))
            case FromCommand(argv):
                return _run(argv)
            case FromAws(name):
                return _read_aws(name)
            case FromEscrow(name):
                return _read_file(self._escrow_path(name))
            case _:
                assert_never(ref)

    def _escrow_path(self, name: str) -> Path:
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise trouble(
                "E370",
                _SUMMARY,
                f"{name!r} can't be the name of an escrowed secret.",
                "give it a plain name, without / and not beginning with a dot",
            )
        return self._escrow / name


def _read_file(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        detail = f"{path.absolute()}: {error.strerror}."
        if not path.is_absolute():
            detail += f" {path} is looked for where runbook was started; a run may be resumed from elsewhere."
        raise trouble(
            "E370", _SUMMARY, detail, "give the secret's whole path, or start it all where the run began"
        ) from None
    try:
        facts = os.fstat(fd)
        _refuse_open_file(path, facts)
        data = os.read(fd, LONGEST_SECRET + 1)
    finally:
        os.close(fd)
    return _checked(data, str(path))


def _refuse_open_file(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise trouble(
            "E371",
            "a secret's file is not safe",
            f"{path} is not a regular file.",
            "put the secret into a plain file of mode 0600",
        )
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise trouble(
            "E371",
            "a secret's file is not safe",
            f"{path} has mode {mode:04o}: others than its owner may read or change it.",
            f"chmod 0600 {path}",
        )
    if facts.st_uid not in (0, os.geteuid()):
        raise trouble(
            "E371",
            "a secret's file is not safe",
            f"{path} belongs to user {facts.st_uid}, who could change it.",
            f"chown {os.geteuid()} {path}",
        )


def _run(argv: tuple[str, ...]) -> str:
    shown = f"`{argv[0]}`"
    bound = Bound(time.monotonic, time.monotonic() + COMMAND_TIMEOUT_S)
    try:
        ran = run_bounded(argv, bound, 4 * LONGEST_SECRET, environment=allowed_environment())
    except OSError as error:
        raise trouble(
            "E370",
            _SUMMARY,
            f"{shown}: {error.strerror}.",
            _LOOK,
        ) from None
    if ran is None:
        raise trouble(
            "E370",
            _SUMMARY,
            f"{shown} did not end within {COMMAND_TIMEOUT_S:.0f} s, or printed too much.",
            _LOOK,
        )
    code, out, _ = ran
    if code:
        detail = f"{shown} ended with exit code {code}; its output is not shown."
        raise trouble("E370", _SUMMARY, detail, "Run it by hand as the user that runs runbook.")
    return _checked(out, shown)


def _read_aws(name: str) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=10, read_timeout=20, retries={"max_attempts": 3})
    try:
        answer = boto3.client("secretsmanager", config=config).get_secret_value(SecretId=name)
    except ClientError as error:
        why = error.response.get("Error", {}).get("Code", "an error")
        raise trouble(
            "E370",
            _SUMMARY,
            f"AWS Secrets Manager answered {why} for {name}.",
            "aws secretsmanager describe-secret --secret-id NAME    # is it there, and may this user read it?",
        ) from None
    except BotoCoreError as error:
        raise trouble(
            "E370",
            _SUMMARY,
            f"AWS Secrets Manager could not be asked for {name}: {error}",
            "aws secretsmanager describe-secret --secret-id NAME    # is it there, and may this user read it?",
        ) from None
    if "SecretString" not in answer:
        raise trouble(
            "E370",
            _SUMMARY,
            f"AWS secret {name} holds bytes, not text.",
            "aws secretsmanager describe-secret --secret-id NAME    # is it there, and may this user read it?",
        )
    return _checked(answer["SecretString"].encode(), f"AWS secret {name}")


def _checked(data: bytes, where: str) -> str:
    """The value without one final newline; refuses what can't be a secret."""
    if len(data) > LONGEST_SECRET:
        raise trouble(
            "E370",
            _SUMMARY,
            f"{where} gave more than {LONGEST_SECRET} bytes.",
            _LOOK,
        )
    try:
        value = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise trouble(
            "E370",
            _SUMMARY,
            f"{where} did not give UTF-8 text.",
            _LOOK,
        ) from None
    if not value or "\0" in value:
        raise trouble(
            "E370",
            _SUMMARY,
            f"{where} gave {'a NUL character' if value else 'nothing'}.",
            _LOOK,
        )
    return value
