"""notify: one message, whose channel stays a reference."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runbook.action import NoFacts
from runbook.actions.notify import Notify, NotifyInputs
from runbook.operation import Message
from runbook.paste import paste
from runbook.secret import FromEnv
from runbook.system import Channel
from tests.actions.backups import scope

CHANNEL = Channel.model_validate({"type": "channel", "url": {"env": "ON_CALL"}, "key": "on_call"})


def test_the_message() -> None:
    inputs = NotifyInputs(title="It begins", body="Writes are stopped.")
    [message] = Notify().plan(CHANNEL, inputs, NoFacts(), scope(CHANNEL))
    assert message == Message(name="send", channel=FromEnv("ON_CALL"), title="It begins", body="Writes are stopped.")
    assert paste(message) == "apprise -t 'It begins' -b 'Writes are stopped.' \"$ON_CALL\""


def test_the_title_alone_will_do() -> None:
    [message] = Notify().plan(CHANNEL, NotifyInputs(title="It begins"), NoFacts(), scope(CHANNEL))
    assert isinstance(message, Message)
    assert message.body == "It begins"


@pytest.mark.parametrize("title", ["", "x" * 201])
def test_wrong_inputs(title: str) -> None:
    with pytest.raises(ValidationError):
        NotifyInputs(title=title)
