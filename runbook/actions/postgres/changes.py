"""What transactions did, as their WAL says: rows that were deleted or updated, and files that were dropped or made.

Owns the reading of pg_waldump's lines, on the server's host, and the summary that comes back: one line a transaction. Pure.
Changes of the system's own tables are left out; a savepoint's count for the transaction that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runbook.units import parse_instant

MOST = 200
"""So many transactions are told, those with the most changes; a line has at most some 200 bytes."""
FIRST_OWN = 16384
"""Numbers of files and objects below it are the system's (FirstNormalObjectId)."""

SUMMARY = r"""
function word(name,   at) {
  at = index($0, name)
  if (!at) return ""
  at = substr($0, at + length(name)); sub(/^ +/, "", at); sub(/[,; ].*/, "", at); return at
}
function list(name,   at) {
  at = index($0, name)
  if (!at) return ""
  at = substr($0, at + length(name)); sub(/;.*/, "", at); return at
}
/^!failed/ { failed = 1 }
!/^rmgr: / { next }
{ # records come in the order of their places; what was read before is read again at a seam
  lsn = word("lsn: "); cut = index(lsn, "/"); place = sprintf("%8s%8s", substr(lsn, 1, cut - 1), substr(lsn, cut + 1))
  if (place <= last) next
  last = place; xid = word("tx: ")
}
/^rmgr: Heap / {
  rel = word(": rel "); split(rel, part, "/")
  if (part[3] + 0 < own || (only != "" && rel != only)) next
  if ($0 ~ /desc: DELETE/) { deleted[xid]++; hit[xid, rel]++ }
  else if ($0 ~ /desc: (HOT_)?UPDATE/) { updated[xid]++; hit[xid, rel]++ }
  else next
  if (!((xid, rel) in had)) { had[xid, rel] = 1; rels[xid] = rels[xid] " " rel }
}
/^rmgr: Storage/ && /desc: CREATE/ { made[xid]++ }
/^rmgr: Transaction/ && /desc: COMMIT/ {
  text = substr($0, index($0, "desc: ") + 6)
  if (text ~ /^COMMIT_PREPARED/) { xid = text; sub(/^COMMIT_PREPARED /, "", xid); sub(/:.*/, "", xid) }
  match(text, /[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9:.]+/)
  at = substr(text, RSTART, RLENGTH)
  if (at < since || at > until) next
  n = split(xid list("subxacts:"), all, " "); gone = split(list("rels:"), files, " ")
  d = u = m = 0; best = ""; most = 0
  for (i = 1; i <= n; i++) {
    one = all[i]; d += deleted[one]; u += updated[one]; m += made[one]
    k = split(rels[one], r, " ")
    for (j = 1; j <= k; j++) if (hit[one, r[j]] > most) { most = hit[one, r[j]]; best = r[j] }
  }
  if (d + u + gone) print d + u + gone "\t" xid "\t" lsn "\t" at "\t" d + 0 "\t" u + 0 "\t" gone + 0 "\t" m + 0 "\t" best
}
END { print "999999999999999\t" (failed ? "!failed" : "!read") }  # first of all, when sorted
"""
"""Awk, as every system has it. Variables: ``own``, ``only`` (a relation, or ''), ``since`` and ``until`` (UTC, as text)."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction did. ``lsn`` is where its commit record begins; ``relation`` (TABLESPACE/DATABASE/FILE) had the most."""

    xid: int
    lsn: str
    at: datetime
    deleted: int
    updated: int
    dropped: int
    made: int
    relation: str

    @property
    def weight(self) -> int:
        """Rows and files together."""
        return self.deleted + self.updated + self.dropped

    @property
    def did(self) -> str:
        """In words: ``deleted 200 rows``; a truncation makes a new file for each that it drops."""
        said = [f"{verb} {count} row{'s' if count > 1 else ''}" for verb, count in self._rows if count]
        if self.dropped:
            truncated = self.made >= self.dropped
            said.append(
                f"{'emptied or rewrote' if truncated else 'dropped'} {self.dropped} file{'s' if self.dropped > 1 else ''}"
            )
        return ", ".join(said)

    @property
    def _rows(self) -> tuple[tuple[str, int], ...]:
        return (("deleted", self.deleted), ("updated", self.updated))


def parse(text: str) -> tuple[Change, ...]:
    """The summary's lines; ValueError where the WAL could not be read to the end, or the summary was cut off."""
    mark, *lines = text.splitlines() or [""]
    if not mark.endswith("\t!read"):
        raise ValueError("the WAL could not be read to the end")
    found = []
    for line in lines:
        _, xid, lsn, at, *counts, relation = line.split("\t")
        deleted, updated, dropped, made = map(int, counts)
        moment = parse_instant(f"{at.replace(' ', 'T')}+00:00")
        found.append(Change(int(xid), lsn, moment, deleted, updated, dropped, made, relation))
    return tuple(sorted(found, key=lambda one: one.at))
