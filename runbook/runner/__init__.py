"""The runner: the only loop that acts. Decide → journal → perform → journal.

``ledger.py`` keeps journal and fold in step; ``prepare.py`` turns a step of the plan into an action with inputs; ``step.py`` is one
step's life; ``loop.py`` the run's; ``preview.py`` the dry-run, made of the same calls; ``targets.py`` identity and locks.
"""
