"""The settings that a recovering server may not have lower than its primary had: else it pauses, or ends, before its target.

Owns the script that starts the side server with them. They are in no file that could be relied on: the base backup's configuration
is older than what was raised since. Control files tell (manual, Hot Standby, Administrator's Overview): the live cluster's what it
runs with now, the copy's what it had, and, once it has stopped at a higher one in the WAL, that one.
"""

from __future__ import annotations

STARTED = """\
log=$1 controldata=$2 side=$3 live=$4 options=$5; shift 5
had() { LC_ALL=C "$controldata" -D "$1" 2>/dev/null | sed -n "s/^$2 setting: *//p"; }
for pair in connections:connections worker_processes:worker_processes wal_senders:wal_senders \\
  prepared_xacts:prepared_transactions locks_per_xact:locks_per_transaction; do
  most=0
  for data in "$side" "$live"; do
    found=$(had "$data" "max_${pair%%:*}")
    [ "${found:-0}" -le "$most" ] || most=$found
  done
  [ "$most" = 0 ] || options="$options -c max_${pair##*:}=$most"
done
"$@" "$options" --log="$log" || { code=$?; tail -n 12 "$log" >&2; exit $code; }"""
"""Arguments: log, pg_controldata, the copy, the live directory (it need not be there), --options=…, and pg_ctl's words."""

STOPPED_UNFIT = """\
log=$1; shift
! grep -q -F 'insufficient parameter settings' "$log" 2>/dev/null || "$@\""""
"""Stops a side server that has paused for a setting that was higher for a while: started anew, it has that one.

Arguments: log, and pg_ctl's words.
"""
