"""Rehearsals: a plan carried out on stubs, with a crash at every boundary and every failure once.

The runner, the engine and the journal are the ones that a real run has; the actions, the world and the disk are stubs.
"""
