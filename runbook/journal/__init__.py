"""The durable journal of a run, its locks and the directory that both live in.

Knows events, not their meaning: a payload is a JSON object with the key ``event``. Promises its neighbours that a record
which :meth:`LocalJournal.append` returned survives the death of the process and of the machine, and that a journal which
was altered, shortened or reordered is never read as if it were whole.
"""
