"""What can be found wrong with a plan before it runs: faults, which make it invalid, and the rules of disaster recovery.

``faults.py`` holds a plan against the actions and an environment; ``rules.py`` asks whether it is a good procedure. Pure: both
are given what they look at, today's date included.
"""
