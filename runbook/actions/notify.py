"""Telling people: a message to a channel."""

from __future__ import annotations

from pydantic import Field

from runbook.action import Action, Done, Effect, Inputs, Interrupted, Look, NoFacts, NoOutputs, Scope
from runbook.operation import Message, Operations
from runbook.system import Channel


class NotifyInputs(Inputs):
    """What is said."""

    title: str = Field(min_length=1, max_length=200, description="The message's first line")
    body: str = Field(default="", description="The message; default: the title alone")


class Notify(Action[Channel, NotifyInputs, NoFacts, NoOutputs]):
    """Send a message to a channel.

    A channel that doesn't take the message fails the step: `on_failure: continue` keeps a recovery from waiting for it. When the
    step was cut off, the message is sent once more rather than not at all. In `finally`, `{{ run.outcome }}` says how the run ends
    (`succeeded`, `completed_with_failures`, `failed`), and `{{ run.problem }}` what failed and why.
    """

    effect = Effect.CREATES
    interrupted = Interrupted.REPEATABLE
    example = """\
- id: tell
  title: Tell the people on call
  uses: notify
  on: on_call
  with: {title: "The restore of {{ environment.name }} begins", body: "Run {{ run.id }}; writes are stopped."}
  on_failure: continue
  timeout: 1m
"""

    def observe(self, look: Look, system: Channel, inputs: NotifyInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def assume(self, system: Channel, inputs: NotifyInputs, scope: Scope) -> NoFacts:
        """Nothing."""
        return NoFacts()

    def plan(self, system: Channel, inputs: NotifyInputs, facts: NoFacts, scope: Scope) -> Operations:
        """The message."""
        return (Message(name="send", channel=system.url, title=inputs.title, body=inputs.body or inputs.title),)

    def expect(self, system: Channel, inputs: NotifyInputs, facts: NoFacts) -> NoOutputs:
        """Nothing to pass on."""
        return NoOutputs()

    def verify(self, look: Look, system: Channel, inputs: NotifyInputs, done: Done[NoFacts]) -> NoOutputs:
        """The channel took it: there is nothing to look at."""
        return NoOutputs()
