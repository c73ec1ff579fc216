"""What a side server is started with that stands in no file: settings that may not be lower, libraries that may not be loaded.

Owns the script that starts it. A recovering server may not have some settings lower than its primary had: else it pauses, or ends,
before its target. The base backup's configuration is older than what was raised since. Control files tell (manual, Hot Standby,
Administrator's Overview): the live cluster's what it runs with now, the copy's what it had, and, once it has stopped at a higher
one in the WAL, that one.

A library that is loaded at the start may begin work of its own once the recovery is over: jobs of a schedule, requests to
elsewhere, replication from the live server. In a copy all of that would be done a second time. Those known for it are left out;
not so one that writes WAL of its own (a custom resource manager, as Spock has): without it nothing of that could be replayed.
"""

from __future__ import annotations

_WORK_BY_THEMSELVES = "pg_cron|pg_net|pg_partman_bgw|pg_squeeze|pglogical"
STARTED = r"""log=$1 controldata=$2 side=$3 live=$4 options=$5 postgres=$6; shift 6
libraries=$(eval "\"\$postgres\" -D \"\$side\" ${options#--options=} -C shared_preload_libraries")
loaded= left_out= quote=$(printf "\047")
set -f; IFS=,
for library in $libraries; do
  library=$(printf %s "$library" | tr -d "\042" | sed "s/^ *//; s/ *\$//")
  name=${library##*/}
  case ${name%.so} in
  LEFT_OUT) left_out=$library ;;
  *) loaded=$loaded,$library ;;
  esac
done
set +f; unset IFS
[ -z "$left_out" ] || options="$options -c shared_preload_libraries=$quote${loaded#,}$quote"
had() { LC_ALL=C "$controldata" -D "$1" 2>/dev/null | sed -n "s/^$2 setting: *//p"; }
for pair in connections:connections worker_processes:worker_processes wal_senders:wal_senders \
  prepared_xacts:prepared_transactions locks_per_xact:locks_per_transaction; do
  most=0
  for data in "$side" "$live"; do
    found=$(had "$data" "max_${pair%%:*}")
    [ "${found:-0}" -le "$most" ] || most=$found
  done
  [ "$most" = 0 ] || options="$options -c max_${pair##*:}=$most"
done
"$@" "$options" --log="$log" || { code=$?; tail -n 12 "$log" >&2; exit $code; }""".replace(
    "LEFT_OUT", _WORK_BY_THEMSELVES
)
"""Arguments: log, pg_controldata, the copy, the live directory (it need not be there), --options=…, postgres; pg_ctl's words."""

STOPPED_UNFIT = """\
log=$1; shift
! grep -q -F 'insufficient parameter settings' "$log" 2>/dev/null || "$@\""""
"""Stops a side server that has paused for a setting that was higher for a while: started anew, it has that one.

Arguments: log, and pg_ctl's words.
"""
