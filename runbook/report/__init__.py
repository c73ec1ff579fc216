"""Reports: what a person or a program reads of a plan, a dry-run or a run. Pure: values in, text out.

``dryrun.py`` is the page that is reviewed before a drill, ``state.py`` where a run stands and what can be done, ``story.py`` the
lines of a run as it goes, ``diagram.py`` the picture of a plan.
"""
