"""Transports: perform operations, and make the bounded reads of observers. The only code that touches the world.

They know operations, not actions; hosts, not systems. ``outcome.py`` is what they tell their caller.
"""
