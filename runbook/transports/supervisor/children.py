"""Children: a described stage becomes a process, with its own session and nothing inherited that it wasn't given.

Promises: the child leads a new session (a terminal's Ctrl-C reaches the engine alone), has default signal dispositions,
the marks of its operation in its environment, and no open files but its three streams and its secret files. ``posix_spawn``
is used where no other user is asked for: it costs half of a fork. The caller has recorded the start, synced, before.
"""

from __future__ import annotations

import os

from .processes import OPERATION, RUN_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import StageWire, UserWire


class CouldNotStart(Exception):
    """The program was not executed; the text says why."""


def memory_file(content: bytes, owner: int | None = None) -> int:
    """A file that no directory names, mode 0600, with this content, at its beginning. It never reaches a disk."""
    fd = os.memfd_create("runbook")
    os.fchmod(fd, 0o600)
    if owner is not None:
        os.fchown(fd, owner, -1)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def find_program(name: str, path: str, cwd: str | None) -> str:
    """The file that ``name`` means with this ``PATH``. :class:`CouldNotStart` if there is none."""
    if "/" in name:
        return name
    for folder in (path or os.defpath).split(":"):
        file = f"{folder or cwd or '.'}/{name}"
        if os.access(file, os.X_OK) and not os.path.isdir(file):
            return file
    raise CouldNotStart(f"{name or 'a program without a name'}: not found in PATH ({path or os.defpath})")


def start(stage: StageWire, operation: str, run_dir: str, streams: tuple[int, int, int]) -> int:
    """Start the stage with these descriptors as its standard streams; its pid. Raises :class:`CouldNotStart`."""
    argv, user, cwd = stage["argv"], stage["user"], stage["cwd"]
    env = {**stage["env"], OPERATION: operation, RUN_DIR: run_dir}
    program = find_program(argv[0], env.get("PATH", ""), cwd)
    files = []
    try:
        for variable, content in stage["files"].items():
            fd = memory_file(content.encode(), user["uid"] if user else None)
            files.append(fd)
            os.set_inheritable(fd, True)  # noqa: FBT003 - positional only
            env[variable] = f"/proc/self/fd/{fd}"
        if user is None:
            return _spawn((program, argv, env), streams, (cwd, stage["umask"]))
        return _fork((program, argv, env), streams, (cwd, stage["umask"]), user)
    except OSError as error:
        raise CouldNotStart(f"{argv[0]}: {error.strerror}") from None
    except ValueError as error:  # what no program can be given; whatever it is, the other children need us
        raise CouldNotStart(f"{argv[0]}: {error}") from None
    finally:
        for fd in files:
            os.close(fd)


_Program = tuple[str, list[str], dict[str, str]]


def _spawn(program: _Program, streams: tuple[int, int, int], where: tuple[str | None, int]) -> int:
    """Without a fork: the kernel lends the child our memory until it executes."""
    cwd, umask = where
    back = os.open(".", os.O_RDONLY | os.O_DIRECTORY) if cwd else -1
    ours = os.umask(umask)
    try:
        if cwd:
            os.chdir(cwd)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
        return os.posix_spawn(*program, file_actions=actions, setsid=True)
    finally:
        os.umask(ours)
        if cwd:
            os.fchdir(back)
            os.close(back)


def _fork(program: _Program, streams: tuple[int, int, int], where: tuple[str | None, int], user: UserWire) -> int:
    """As another user, which ``posix_spawn`` can't do."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid == 0:
        try:
            os.setsid()
            for number, fd in enumerate(streams):
                os.dup2(fd, number)
            os.setgroups(user["groups"])
            os.setgid(user["gid"])
            os.setuid(user["uid"])
            os.umask(where[1])
            if where[0]:
                os.chdir(where[0])
            os.execve(*program)  # noqa: S606 - no shell is the point
        except OSError as error:
            os.write(writing, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(writing)
    answer = os.read(reading, 16)
    os.close(reading)
    if answer:
        os.waitpid(pid, 0)
        raise OSError(int(answer), os.strerror(int(answer)))
    return pid
