"""The supervisor: one small process per run, under which children outlive a killed engine.

The supervisor's own half (``boot.py``, ``server.py`` and what they import) uses the standard library alone and never
imports ``runbook``. The engine's half: ``requests.py`` says what may be asked, ``client.py`` asks, ``records.py`` reads
after a crash what was left behind. ``worker.sh`` does the same work on the far side of ``docker exec`` and ``ssh``.
"""
