"""Plans: from YAML text to a frozen, composed, checked-for-shape description of a procedure.

``model.py`` is what the rest of the house sees; ``load.py`` reads text, ``compose.py`` inlines included plans,
``render.py`` fills templates. Pure: text comes in from the command line or the journal, never from a path read here.
"""
