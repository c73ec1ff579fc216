"""The page of a rehearsal."""

from __future__ import annotations

from runbook.report.rehearsal import AfterFailure, AsksThen, Broke, Never, Rehearsed, Tried, as_json, as_text

FOUND = Rehearsed(
    plan="restore-db",
    environment="civicq-production",
    steps=3,
    tried=(Tried("undisturbed", 2, 2, 2), Tried("killed before a record of the journal was written", 900, 400, 399)),
    asks=(AsksThen("migrate", "shell.run", "give it a `probe:`", 3),),
    again=("stop", "start"),
    failures=(AfterFailure("restore", "failed", 1, ("tell",), ("stop",), tuple(f"s{n}" for n in range(10))),),
    never=(Never("cry", "no failure led here"),),
    broke=(Broke("killed before record 7", "done twice: migrate/run"),),
)

PAGE = """\
restore-db: 3 steps rehearsed on stubs, environment civicq-production; nothing real was touched

What went wrong, and how often a resume came to the same end:
      2 of 2     undisturbed
    399 of 400   killed before a record of the journal was written (of 900)

After a step that fails, until somebody resumes:
  restore: failed, exit code 1
    still runs: tell
    stays in effect, since nothing releases it: stop
    not done: s0, s1, s2, s3, s4, s5, s6, s7 and 2 more

A resume would ask a person how these ended:
  migrate (shell.run), after 3 of them: give it a `probe:`

A resume does these once more (repeatable, a hold and its release, or steps of the run's end):
  stop, start

Ran in no rehearsal:
  cry: no failure led here

DID NOT come to the same end:
  killed before record 7: done twice: migrate/run"""


def test_the_page_tells_everything() -> None:
    assert as_text(FOUND) == PAGE


def test_the_object_tells_the_same() -> None:
    found = as_json(FOUND)
    assert found["held"] is False
    assert found["tried"] == [
        {"what": "undisturbed", "there": 2, "tried": 2, "held": 2},
        {"what": "killed before a record of the journal was written", "there": 900, "tried": 400, "held": 399},
    ]
    assert found["asks"] == [{"step": "migrate", "uses": "shell.run", "fix": "give it a `probe:`", "times": 3}]
    assert found["failures"] == [
        {
            "step": "restore",
            "status": "failed",
            "exit_code": 1,
            "ran": ["tell"],
            "held": ["stop"],
            "cancelled": [f"s{n}" for n in range(10)],
        }
    ]
    assert found["never"] == [{"step": "cry", "why": "no failure led here"}]
    assert found["broke"] == [{"disturbance": "killed before record 7", "what": "done twice: migrate/run"}]


def test_nobody_is_asked_where_nobody_would_be() -> None:
    calm = Rehearsed("p", "e", 1, (), (), (), (), (), ())
    assert calm.held
    assert "A resume would ask nobody how a step ended." in as_text(calm)
