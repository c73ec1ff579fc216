"""runbook: disaster recovery from declarative plans.

The way of a plan: YAML text → Plan → Graph → Run (a fold of events) → decide → operations → transports → the world,
with the journal under it and a report at the end. ``docs/architecture.md`` has the map.
"""

__version__ = "0.1.0"
