"""An argument from an earlier operation's result: an upload in parts, whose id the store makes up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from runbook.action import Scope, current
from runbook.operation import Arg, Process, Ref
from tests.actions.backups import scope
from tests.prototype.explore import Fault, explore
from tests.prototype.life import Broke, Case, Op, Results, Worlds, followed
from tests.prototype.words import Command, commands, line_of

SCOPE: Scope = scope()
KEY = f"backups/{SCOPE.tag}.dump"
PARTS = frozenset({"1", "2"})


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket. ``uploads``: those that were begun and neither completed nor aborted, with their parts."""

    uploads: frozenset[tuple[str, frozenset[str]]] = frozenset()
    object: bool = False

    def upload(self, key: str) -> frozenset[str] | None:
        """The parts of an upload."""
        return dict(self.uploads).get(key)

    def put(self, key: str, parts: frozenset[str] | None) -> Bucket:
        """The same with one upload changed or gone."""
        kept = frozenset(one for one in self.uploads if one[0] != key)
        return replace(self, uploads=kept if parts is None else kept | {(key, parts)})


@dataclass(frozen=True, slots=True)
class UploadFacts:
    """Whether the object is there; uploads of this key, which carries the run's name."""

    done: bool = current()
    uploads: tuple[str, ...] = current()


class Uploading(Case[Bucket]):
    """Everything again after a crash; what was left is aborted, since it costs money."""

    start = Bucket()

    def observe(self, world: Bucket) -> UploadFacts:
        return UploadFacts(world.object, tuple(sorted(key for key, _ in world.uploads)))

    def plan(self, facts: object) -> tuple[Op, ...]:
        assert isinstance(facts, UploadFacts)
        swept = tuple(_aws(f"abort_{one}", "abort-multipart-upload", one, owned=True) for one in facts.uploads)
        return swept if facts.done else (*swept, created(), *sent(Ref("create", "stdout")))

    def perform(self, world: Bucket, operation: Op, results: Results) -> Worlds[Bucket]:
        for command in commands(line_of(operation, results)):  # type: ignore[arg-type]  # a real one
            yield _obey(world, command)

    def verify(self, world: Bucket) -> str:
        return "" if world == Bucket(object=True) else f"stray: {world}"


def created() -> Process:
    """Begins an upload; its id is the result."""
    return _aws("create", "create-multipart-upload", "")


def sent(upload: Arg) -> tuple[Process, ...]:
    """The parts, then the one condition that makes them an object."""
    parts = tuple(_aws(f"part_{one}", "upload-part", upload, "--part-number", one) for one in sorted(PARTS))
    return (*parts, _aws("complete", "complete-multipart-upload", upload, "--if-none-match", "*"))


def _aws(name: str, verb: str, upload: Arg, *more: str, owned: bool = False, reads: bool = False) -> Process:
    given = ("--upload-id", upload) if upload else ()
    words = ("aws", "s3api", verb, "--bucket", "b", "--key", KEY, *given, *more)
    return Process(name=name, argv=words, owned=owned, reads=reads)


def _obey(world: Bucket, command: Command) -> tuple[Bucket, tuple[tuple[str, str], ...]]:
    words = command.argv
    verb = words[2]
    given = dict(zip(words[3::2], words[4::2], strict=False))
    if verb == "create-multipart-upload":
        fresh = next(key for key in ("u1", "u2", "u3", "u4", "u5") if world.upload(key) is None)
        return world.put(fresh, frozenset()), (("stdout", fresh),)
    if verb == "list-multipart-uploads":
        return world, (("stdout", min(key for key, _ in world.uploads)),)
    upload = given["--upload-id"]
    parts = world.upload(upload)
    if parts is None:
        raise Broke(f"NoSuchUpload: {upload}")
    if verb == "abort-multipart-upload":
        return world.put(upload, None), ()
    if verb == "upload-part":
        return world.put(upload, parts | {given["--part-number"]}), ()
    if parts != PARTS or world.object:
        raise Broke("InvalidPart, or PreconditionFailed")
    return replace(world.put(upload, None), object=True), ()


def test_killed_anywhere_there_is_one_object_and_no_upload() -> None:
    assert explore(Uploading()).depth >= 3


def test_the_lines_followed_by_hand_make_the_same_object() -> None:
    assert followed(Uploading()) == Bucket(object=True)


def test_without_a_sweep_a_lost_answer_leaves_an_upload_that_nobody_knows() -> None:
    class Careless(Uploading):
        def plan(self, facts: object) -> tuple[Op, ...]:
            return tuple(one for one in super().plan(facts) if not one.owned)

    with pytest.raises(Fault, match="stray"):
        explore(Careless())


def test_a_value_from_the_facts_is_not_the_value_that_was_approved() -> None:
    class Clever(Uploading):
        """Goes on with an upload that it finds, by the id that it found."""

        def plan(self, facts: object) -> tuple[Op, ...]:
            assert isinstance(facts, UploadFacts)
            found = sent(facts.uploads[0]) if facts.uploads else ()
            return super().plan(facts) if facts.done or not found else found

    with pytest.raises(Fault, match="never approved: part_1"):
        explore(Clever())


class Continuing(Uploading):
    """The late value comes from an operation that only reads: it can be taken again, and the rest stays what was approved."""

    def plan(self, facts: object) -> tuple[Op, ...]:
        assert isinstance(facts, UploadFacts)
        found = _aws("find", "list-multipart-uploads", "", "--query", "Uploads[0].UploadId", reads=True)
        begun = () if facts.uploads else (created(),)
        return () if facts.done else (*begun, found, *sent(Ref("find", "stdout")))


def test_a_late_value_that_is_read_can_be_read_again() -> None:
    assert explore(Continuing()).depth >= 3
    assert followed(Continuing()) == Bucket(object=True)
