"""Measurements: ``python -m benchmarks [engine|recovery] [--quick] [--json]``.

Every figure is a ratio of two sides that were measured in the same run, in turns (A B A B), as the median with the smallest and
the largest beside it: on a shared machine the times themselves tell little. Nothing here is asserted.
"""
