"""Messages to channels.

Owns the use of apprise (imported late). Promises: a channel's URL, which is usually a secret, is in no text that leaves here.
"""

from __future__ import annotations

import logging

from runbook.errors import Problem
from runbook.transports.outcome import Failed, Outcome, Succeeded
from runbook.transports.trouble import trouble

_SUMMARY = "a message was not delivered"


def send_message(channel: str, *, title: str, body: str) -> Outcome:
    """Send it. A channel that doesn't take it is a definite failure. Raises :class:`Trouble` for a URL that can't be read."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs what it was given
    scheme = channel.partition(":")[0] if "://" in channel else "the channel"
    sender = apprise.Apprise()
    if not sender.add(channel):
        raise trouble("E360", _SUMMARY, f"The URL of {scheme} can't be understood.", "runbook doctor")
    if sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
        return Succeeded({})
    fix = "Tell people by another way; then look at the channel's URL and at the network."
    return Failed(Problem("E360", _SUMMARY, f"The channel ({scheme}) did not take the message {title!r}.", fix))
