"""The engine decides and never acts: it is told events, and answers what is next.

``events.py`` is what may happen, ``run.py`` the fold of what happened, ``decide.py`` what to do now. Pure: no clock, no
files, no randomness; those are the runner's.
"""
