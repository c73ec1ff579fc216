"""``python -m runbook.cli``: the command line without the installed script."""

from runbook.cli.main import main

main()
