"""``runbook completion``: the script that makes a shell complete commands, options, files and run ids."""

from __future__ import annotations

import click

_INSTALL = {
    "bash": "echo 'eval \"$(runbook completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(runbook completion zsh)\"' >> ~/.zshrc",
    "fish": "runbook completion fish > ~/.config/fish/completions/runbook.fish",
}


@click.command(epilog="To have it always: " + _INSTALL["bash"])
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def command(shell: str) -> None:
    """Print the completion script for SHELL."""
    from click.shell_completion import get_completion_class

    from runbook.cli.main import cli
    from runbook.cli.screen import put
    from runbook.errors import Bug

    kind = get_completion_class(shell)
    if kind is None:
        raise Bug(f"the command line library knows no completion for {shell}")
    put(f"# {_INSTALL[shell]}")
    put(kind(cli, {}, "runbook", "_RUNBOOK_COMPLETE").source())
