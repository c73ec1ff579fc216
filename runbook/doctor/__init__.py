"""The doctor: what this machine can run and what it can't, before the night on which that matters.

``machine.py`` and ``systems.py`` gather facts and only read; every other module is pure: facts in, findings out.
"""
