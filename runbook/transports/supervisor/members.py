"""Members of an operation: its processes and pumps, wired by pipes.

Owns the way from a request to living processes: source → (pump) → stages, with pumps between where bytes are hashed or
counted, or a preamble is written → (pump) → sink. Promises: after a failure to start, what had been started is named in
``members``, so that the caller can end it, and no descriptor of ours is left open.
"""

from __future__ import annotations

import json
import os
import stat

from . import children, processes, pump
from .output import Log, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import ExitWire, StageWire, StartWire


class Member:
    """One process of an operation. ``status`` is a wait status once it was reaped."""

    def __init__(self, pid: int, program: str, ok: list[int]) -> None:
        facts = processes.look(pid)
        self.pid = pid
        self.start = facts.start if facts else 0
        self.program = program
        self.ok = ok
        self.status: int | None = None

    @property
    def well(self) -> bool:
        """Whether it ended with a code that counts as success."""
        return self.status is not None and os.waitstatus_to_exitcode(self.status) in self.ok


class Stage(Member):
    """A process that a stage described, with what it prints on standard error."""

    def __init__(self, pid: int, stage: StageWire, stderr: Output) -> None:
        super().__init__(pid, stage["argv"][0], stage["ok"])
        self.stderr = stderr

    def ended(self) -> ExitWire:
        """How it ended."""
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        return {
            "program": self.program,
            "code": code if code is None or code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "stderr": self.stderr.taken(),
        }


class Carrier(Member):
    """A pump, with its reports. ``upstream`` must have ended well before its reader may see the end."""

    def __init__(self, told: pump.Pump, upstream: list[Member]) -> None:
        pid, self.report, self._word = told.fork()
        super().__init__(pid, "pump", [0])
        self.hashing = told.hashing
        self.most = told.most
        self.over = False
        self.upstream = upstream
        self.bytes = 0
        self.sha256 = ""
        self.error = ""
        self.at_end = False
        self.begun = False
        self._text = b""

    def go(self) -> None:
        """Let it begin or, at the end of its input, let its reader see the end."""
        self.begun, self.at_end = True, False
        if self._word >= 0:
            try:
                os.write(self._word, pump.GO)
            except OSError:
                pass  # it ended meanwhile, which its exit tells

    def read(self) -> bool:
        """Take its reports. False: no more will come."""
        data = os.read(self.report, 65_536)
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            said: pump.Report = json.loads(line)
            self.bytes = said.get("bytes", self.bytes)
            self.sha256 = said.get("sha256", self.sha256)
            self.error = said.get("error", self.error)
            self.at_end = self.at_end or "eof" in said
            self.over = self.over or "over" in said
        return bool(data)

    def close(self) -> None:
        """Close both of our ends."""
        for fd in (self.report, self._word):
            if fd >= 0:
                os.close(fd)
        self.report = self._word = -1


class Wiring:
    """Starts the members of one request, from the source to the sink."""

    def __init__(self, request: StartWire, run_dir: str) -> None:
        self._request = request
        self._run_dir = run_dir
        self._ours: list[int] = []
        self.log = Log(request["log"], request["log_max"])
        self.stdout: Output | None = None
        self.members: list[Member] = []
        self._held: list[children.Held] | None = [] if request["daemon"] else None

    def start(self) -> None:
        """Start everything; pumps wait for their word, a daemon's stages for :meth:`go`. Raises :class:`children.CouldNotStart`."""
        try:
            self._chain()
        except OSError as error:
            where = f": {error.filename}" if isinstance(error.filename, str) else ""
            raise children.CouldNotStart(f"{error.strerror}{where}") from None
        except ValueError as error:  # a NUL in a path, half a character in a text; the other operations need us
            raise children.CouldNotStart(str(error)) from None
        finally:
            for fd in self._ours:
                os.close(fd)
            self._ours.clear()

    def go(self) -> None:
        """Let a daemon's stages execute; they are on record. Raises :class:`children.CouldNotStart`."""
        for stage, held in zip(self._request["stages"], self._held or (), strict=False):
            try:
                held.go()
            except OSError as error:
                raise children.CouldNotStart(f"{stage['argv'][0]}: {error.strerror}") from None

    def drop(self) -> None:
        """What is still held ends, and has executed nothing."""
        for held in self._held or ():
            held.drop()

    def _chain(self) -> None:
        stages, sink = self._request["stages"], self._request["sink"]
        hash_before = self._hash_before()
        flow = self._source(stages[0]["preamble"] if stages else "")
        for number, stage in enumerate(stages):
            piped = number > 0 or self._request["input"]["kind"] == "file"
            if number == hash_before or (piped and (stage["preamble"] or stage["most"])):
                flow = self._between(flow, stage, hashing=number == hash_before)
            last = number == len(stages) - 1
            after, out = self._pipe()
            if last and sink["kind"] == "capture":
                self.stdout = self._output(after)
            self._stage(stage, flow, out)
            flow = after
        if sink["kind"] != "capture":
            self._sink(flow, hashing=hash_before == len(stages))

    def _hash_before(self) -> int:
        """Before which stage the hashing pump stands (the number of stages: before the sink); -1: nowhere."""
        count, point = len(self._request["stages"]), self._request["hash"]
        if point == "none":
            return -1
        if point == "source":
            return 0 if self._request["input"]["kind"] == "file" else 1
        return count if self._request["sink"]["kind"] != "capture" else count - 1

    def _source(self, preamble: str) -> int:
        source = self._request["input"]
        if source["kind"] == "file":
            fd = os.open(source["value"], os.O_RDONLY | os.O_NONBLOCK)
            if stat.S_ISFIFO(os.fstat(fd).st_mode):  # waiting for a writer, we would serve nobody
                os.close(fd)
                raise children.CouldNotStart(f"{source['value']}: a named pipe can't be the source")
            os.set_blocking(fd, True)
        elif source["value"] or preamble:
            fd = children.memory_file((preamble + source["value"]).encode())
        else:
            fd = os.open(os.devnull, os.O_RDONLY)
        return self._own(fd)

    def _between(self, flow: int, stage: StageWire, *, hashing: bool) -> int:
        after, into = self._pipe()
        preamble, most = stage["preamble"].encode(), stage["most"]
        self._pump(pump.Pump(flow, into, hashing=hashing, preamble=preamble, most=most))
        self._drop(flow)
        self._drop(into)
        return after

    def _stage(self, stage: StageWire, flow: int, out: int) -> None:
        request = self._request
        error_in, error_out = self._pipe()
        pid = children.start(stage, request["id"], self._run_dir, (flow, out, error_out), self._held)
        self.members.append(Stage(pid, stage, self._output(error_in)))
        for fd in (flow, out, error_out):
            self._drop(fd)

    def _sink(self, flow: int, *, hashing: bool) -> None:
        into, path = None, ""
        if self._request["sink"]["kind"] == "file":
            path = self._request["sink"]["value"]
            _clear(path)
            into = self._own(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._pump(pump.Pump(flow, into, hashing=hashing, place=path))
        self._drop(flow)
        if into is not None:
            self._drop(into)

    def _pump(self, told: pump.Pump) -> None:
        for fd in (told.source, told.sink):
            if fd is not None:
                pump.widen(fd)
        self.members.append(Carrier(told, list(self.members)))

    def _output(self, fd: int) -> Output:
        self._ours.remove(fd)
        return Output(fd, self._request["forms"], self._request["capture"], self.log)

    def _pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe()
        return self._own(reading), self._own(writing)

    def _own(self, fd: int) -> int:
        self._ours.append(fd)
        return fd

    def _drop(self, fd: int) -> None:
        self._ours.remove(fd)
        os.close(fd)


def _clear(path: str) -> None:
    """Remove what an earlier attempt left there, which may still be written to; nothing but a plain file is removed."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
