"""Base backups: facts → operations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runbook.actions.backup.layout import DATA, MANIFEST, Present
from runbook.actions.backup.verify import Verify, VerifyInputs
from runbook.actions.postgres.basebackup import Basebackup, BasebackupInputs
from runbook.operation import UNBOUNDED, Document, Operations, Pipeline, Ref, Remove, Rename, Write, digest
from runbook.paste import paste
from runbook.placeholder import AHEAD
from runbook.secret import FromEnv
from tests.actions.backups import database, scope, store

ACTION = Basebackup()
NAME = "/backups/cluster-20260214T120000Z.tar.zst"


def planned(state: Present | None = None, **written: object) -> Operations:
    system = database(host={"docker": "pg"}, password=FromEnv("PW"))
    inputs = BasebackupInputs.model_validate({"to": store(), **written})
    facts = replace(ACTION.assume(system, inputs, scope()), state=state or Present())
    return ACTION.plan(system, inputs, facts, scope())


def names(operations: Operations) -> list[str]:
    return [operation.name for operation in operations]


def test_it_is_partial_until_its_end_was_seen() -> None:
    operations = planned()
    assert names(operations) == ["began", "copy", "ended", "look_at_end", "draft", "publish_data", "publish_manifest"]
    copy, last = operations[1], operations[-1]
    assert isinstance(copy, Pipeline) and copy.sink.endswith(".partial") and copy.sink.startswith(NAME)
    assert isinstance(last, Rename) and last.target == f"{NAME}.manifest.json"


def test_the_bytes_come_out_of_the_container_packed() -> None:
    copy, end = planned()[1], planned()[3]
    assert isinstance(copy, Pipeline)
    assert [str(stage.host) for stage in copy.stages] == ["docker:pg"]
    wanted = {"--format=tar", "--pgdata=-", "--wal-method=fetch", "--checkpoint=fast", "--compress=client-zstd:1"}
    assert wanted <= set(copy.stages[0].argv)
    assert not [word for stage in copy.stages for word in stage.argv if "password=" in str(word)]
    assert isinstance(end, Pipeline) and [stage.argv[0] for stage in end.stages] == ["zstd", "tar", "grep"]
    assert end.stages[1].most_bytes == UNBOUNDED, "what came out packed is counted where it is read"


def test_what_is_packed_here_is_counted_on_its_way() -> None:
    system, inputs = database(), BasebackupInputs.model_validate({"to": store()})
    operations = ACTION.plan(system, inputs, ACTION.assume(system, inputs, scope()), scope())
    copy, end = operations[1], operations[3]
    assert isinstance(copy, Pipeline)
    assert [(stage.argv[0], stage.most_bytes) for stage in copy.stages] == [("pg_basebackup", 0), ("zstd", UNBOUNDED)]
    assert paste(end) == f"zstd --list {copy.sink}"


@pytest.mark.parametrize(
    ("host", "compress", "by"),
    [
        ("local", "zstd", Ref("copy", "taken_bytes")),
        ({"docker": "pg"}, "zstd", Ref("look_at_end", "taken_bytes")),
        ({"docker": "pg"}, "gzip", Ref("copy", "taken_bytes")),
        ("local", "none", None),
    ],
)
def test_the_manifest_says_what_it_unpacks_to(host: object, compress: str, by: Ref | None) -> None:
    system, inputs = database(host=host), BasebackupInputs.model_validate({"to": store(), "compress": compress})
    facts = replace(ACTION.assume(system, inputs, scope()), client_packs=compress == "zstd")
    (draft,) = (one for one in ACTION.plan(system, inputs, facts, scope()) if isinstance(one, Write))
    assert isinstance(draft.content, Document)
    pieces = dict(draft.content.items)["pieces"]
    assert isinstance(pieces, tuple) and isinstance(piece := pieces[0], Document)
    assert dict(piece.items).get("unpacked_bytes") == by


def test_a_program_that_cant_pack_is_helped_here() -> None:
    system, inputs = database(host={"docker": "pg"}), BasebackupInputs.model_validate({"to": store()})
    facts = replace(ACTION.assume(system, inputs, scope()), client_packs=False)
    copy = ACTION.plan(system, inputs, facts, scope())[1]
    assert isinstance(copy, Pipeline)
    assert [(str(stage.host), stage.argv[0]) for stage in copy.stages] == [
        ("docker:pg", "pg_basebackup"),
        ("local", "zstd"),
    ]
    assert not [word for word in copy.stages[0].argv if str(word).startswith("--compress")]


@pytest.mark.parametrize(
    ("written", "name", "here", "end"),
    [
        ({"compress": "gzip"}, "cluster-20260214T120000Z.tar.gz", ["gzip"], ["gzip", "tar", "grep"]),
        ({"compress": "none"}, "cluster-20260214T120000Z.tar", [], ["tail", "grep"]),
        ({"name": "base.tar.gz"}, "base.tar.gz", ["gzip"], ["gzip", "tar", "grep"]),
    ],
)
def test_other_packings(written: dict[str, str], name: str, here: list[str], end: list[str]) -> None:
    operations = planned(None, **written)
    copy, look = operations[1], operations[3]
    assert isinstance(copy, Pipeline) and isinstance(look, Pipeline) and look.reads
    assert [stage.argv[0] for stage in copy.stages[1:]] == here
    assert [stage.argv[0] for stage in look.stages] == end
    assert isinstance(operations[-1], Rename) and operations[-1].target == f"/backups/{name}.manifest.json"


def test_a_name_says_how_it_is_packed() -> None:
    with pytest.raises(ValidationError, match=r"ends in \.gz means compress: gzip"):
        BasebackupInputs.model_validate({"to": store(), "name": "base.tar.gz", "compress": "zstd"})


def test_what_is_there_is_not_made_again() -> None:
    assert planned(Present(partials=(), finished=(DATA,), done=True)) == ()
    assert names(planned(Present(partials=(DATA, MANIFEST)))) == ["publish_data", "publish_manifest"]
    assert names(planned(Present(partials=(MANIFEST,), finished=(DATA,)))) == ["publish_manifest"]
    left = planned(Present(partials=(DATA,)))
    assert isinstance(left[0], Remove) and left[0].owned
    assert left[1:] == planned()


def test_a_backup_that_an_older_version_began_goes_on() -> None:
    """It counted nothing: what it would have made and what is made now go into the very same partials."""
    system, inputs = database(), BasebackupInputs.model_validate({"to": store()})
    facts = ACTION.assume(system, inputs, scope())
    now = ACTION.plan(system, inputs, facts, scope())
    before = [one for one in now if one.name not in ("copy", "draft")]
    known = {digest(one) for one in (*before, *ACTION.recovery(system, inputs, facts, scope()))}
    assert {digest(one) for one in now} <= known
    copy, draft = ACTION.recovery(system, inputs, facts, scope())
    assert isinstance(copy, Pipeline) and isinstance(draft, Write)
    assert all(scope().tag in path and path.endswith(".partial") for path in (copy.sink, draft.path))
    assert ACTION.recovery(system, inputs, replace(facts, state=Present(done=True)), scope()) == ()


def test_it_is_foreseen_with_its_file_and_without_its_hash() -> None:
    system, inputs = database(), BasebackupInputs.model_validate({"to": store()})
    made = ACTION.foresee(system, inputs, ACTION.assume(system, inputs, scope()), scope(step="copy")).artifact
    assert made.manifest is not None and made.url == f"file://{NAME}"
    assert str(made.manifest.timeline) == "<timeline, from copy>"
    proof = VerifyInputs.model_validate({"artifact": made.model_dump(mode="json")}, context=AHEAD)
    facts = Verify().assume(store(), proof, scope())
    (read,) = Verify().plan(store(), proof, facts, scope())
    name = NAME.removeprefix("/backups/")
    assert paste(read) == f"sha256sum {NAME}  # sha256 must be <sha256 of {name}, from copy>"
    outputs = Verify().expect(store(), proof, facts)
    assert outputs is not None
    assert outputs.model_dump(mode="json")["artifact"]["bytes"] == f"<bytes of {name}, from copy>"


def test_a_dry_run_that_can_not_ask_the_server_says_so_in_the_manifest() -> None:
    (draft,) = (one for one in planned() if isinstance(one, Write))
    assert isinstance(draft.content, Document)
    told = dict(draft.content.items)
    assert [str(told[name]) for name in ("system_identifier", "server_version", "client_version")] == [
        "<system_identifier, from step>",
        "<server_version, from step>",
        "<client_version, from step>",
    ]
