"""The command line: one file per command, each of which parses, calls, prints and gives an exit code.

``main.py`` is the door. It loads a command's file only when that command is used, so that ``--help`` and completion stay quick.
"""
