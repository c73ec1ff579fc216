"""What lies in a WAL archive, counted where it lies: an archive of 100,000 files becomes a page of lines.

Owns the script that reads the directory (:func:`listed`) and the reading of what it prints (:func:`parse_listing`). The script is
POSIX shell with ``find sort stat awk`` of any coreutils or busybox. Promises: it only reads; what it prints is bounded by
:data:`MOST_STRETCHES` and its kin, and says how much there is in all; it ends with a line of its own, so that one that was cut off
is never taken for a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runbook.action import CheckFailed
from runbook.actions.postgres.wal import (
    LOG_BYTES,
    Coverage,
    History,
    Stretch,
    Switch,
    history_name,
    parse_history,
    parse_name,
)
from runbook.actions.postgres.wal_source import PROGRAM, BucketArchive
from runbook.errors import Problem
from runbook.host import Host
from runbook.operation import Operation, Operations, Process

MOST_STRETCHES = 500
"""Stretches without a gap that are told, oldest first. More make more gaps than anybody fills: then the check fails in any case."""
MOST_SWITCHES = 500
"""Lines of the latest timeline's history: it holds those of all timelines that lead to it. Also how many histories are named."""
MOST_NAMES = 20
"""Names of files that are foreign or damaged."""

_SCRIPT = """\
LC_ALL=C; export LC_ALL
cd "$1" || exit 1
files() { find . ! -name . -prune -type f "$@"; }
{ files ! -name '.*' ! -name '*[!A-Za-z0-9._-]*' -exec sh -c 'stat -c "%n %s %Y" -- "$@" 2>/dev/null || :' sh {} + && echo '~'
} | sort | awk -v per="$2" -v size="$3" -v most="$4" -v names="$5" -v switches="$6" '
function number(digits,   at, n) { n = 0; for (at = 1; at <= length(digits); at++)
  n = n * 16 + index("0123456789ABCDEF", substr(digits, at, 1)) - 1; return n }
function tell() { if (last == "") return; if (++stretches <= most) printf "S %.0f %.0f %.0f\\n", timeline, first, last }
function hex(text, long) { return length(text) == long && text !~ /[^0-9A-F]/ }
$1 == "~" { whole = 1; next }
{ name = substr($1, 3); bytes += $2 }
hex(name, 24) && number(substr(name, 17, 8)) < per {
  t = number(substr(name, 1, 8)); n = number(substr(name, 9, 8)) * per + number(substr(name, 17, 8))
  segments++
  if (oldest == "" || $3 < oldest) oldest = $3
  newest = name; archived = $3
  if ($2 != size) { if (++damaged <= names) print "D", name, $2 }
  if (last != "" && t == timeline && n == last + 1) { last = n; next }
  tell(); timeline = t; first = n; last = n; next
}
name ~ /\\.history$/ && hex(substr(name, 1, 8), 8) && length(name) == 16 { if (++histories <= switches) print "H", name; next }
name ~ /\\.partial$/ && hex(substr(name, 1, 24), 24) && length(name) == 32 { next }
name ~ /\\.backup$/ && hex(substr(name, 1, 24), 24) && length(name) == 40 { next }
{ if (++foreign <= names) print "F", name }
END { tell()
  if (newest != "") print "N", newest, archived, oldest
  printf "C %.0f %.0f %.0f %.0f %.0f\\n", segments, stretches, damaged, foreign, bytes
  if (whole) print "E" }'
latest=$(ls -r | grep '^[0-9A-F]\\{8\\}\\.history$' | head -n 1)
[ -z "$latest" ] || awk -v name="$latest" '$1 ~ /^[0-9]+$/ { print "L", name, $1, $2 }' "$latest" | head -n "$6"
echo "O $(files -name '*[!A-Za-z0-9._-]*' | wc -l)"
echo Z"""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in an archive. Instants are seconds since 1970 by the host's clock; ``damaged`` are (name, bytes);
    ``writer``: the identifier of the cluster that wrote the newest segment, '' where the listing doesn't tell it; ``flaw``:
    why that segment is not what was archived.

    Counts are whole; the names beside them are the first :data:`MOST_NAMES`. ``stretches`` counts those that were not told too.
    """

    coverage: Coverage
    newest: str
    newest_at: float
    oldest_at: float
    segments: int
    stretches: int
    damaged: tuple[tuple[str, int], ...]
    damaged_count: int
    foreign: tuple[str, ...]
    foreign_count: int
    bytes: int
    writer: str = ""
    flaw: str = ""


def listed_bucket(archive: BucketArchive, segment_bytes: int) -> Operations:
    """Read the names in the bucket, by this program: 1,000 a request. The file with the keys goes again."""
    words = ("--lines", "--access", archive.access, "--segment-bytes", str(segment_bytes))
    listing = Process(name="listing", argv=(PROGRAM, "wal", "list", *words), reads=True)
    # both are in the run's own directory: nothing else is changed
    given = tuple(replace(one, reads=True) for one in archive.opened())
    taken = tuple(replace(one, reads=True) for one in archive.forgotten())
    return (*given, listing, *taken)


def listed(directory: str, host: Host, segment_bytes: int) -> Operation:
    """Read the archive's directory. Takes about a second for 100,000 files."""
    limits = (str(MOST_STRETCHES), str(MOST_NAMES), str(MOST_SWITCHES))
    per_log = str(LOG_BYTES // segment_bytes)
    argv = ("sh", "-c", _SCRIPT, "sh", directory, per_log, str(segment_bytes), *limits)
    return Process(name="listing", argv=argv, host=host, reads=True)


def parse_listing(text: str, segment_bytes: int) -> Listing:
    """What the script has printed; :class:`CheckFailed` for what isn't whole."""
    lines = [line.split(" ") for line in text.splitlines()]
    kinds = {line[0] for line in lines}
    if not {"C", "E", "O", "Z"} <= kinds:
        detail = f"Its listing ends with: {text[-200:].strip() or 'nothing'}"
        fix = "ls -l    # of the archive, on the server's host; look at its permissions and at the disk"
        raise CheckFailed(Problem("E793", "the WAL archive can't be seen", detail, fix))
    counts = [int(word) for word in next(line for line in lines if line[0] == "C")[1:]]
    odd = int(next(line for line in lines if line[0] == "O")[1])
    newest = next((line for line in lines if line[0] == "N"), ["N", "", "0", "0"])
    stretches = tuple(Stretch(*(int(word) for word in line[1:])) for line in lines if line[0] == "S")
    return Listing(
        coverage=Coverage(tuple(sorted(stretches)), _histories(lines), segment_bytes),
        newest=newest[1],
        newest_at=float(newest[2]),
        oldest_at=float(newest[3]),
        segments=counts[0],
        stretches=counts[1],
        damaged=tuple((line[1], int(line[2])) for line in lines if line[0] == "D"),
        damaged_count=counts[2],
        foreign=tuple(line[1] for line in lines if line[0] == "F"),
        foreign_count=counts[3] + odd,
        bytes=counts[4],
        flaw=next((" ".join(line[1:]) for line in lines if line[0] == "X"), ""),
        writer=next((line[1] for line in lines if line[0] == "W"), ""),
    )


def _histories(lines: list[list[str]]) -> dict[int, tuple[Switch, ...]]:
    """The latest timeline's history, and those of its ancestors, which are its beginnings; of other branches: empty ones."""
    told = "".join(f"{line[2]} {line[3]}\n" for line in lines if line[0] == "L")
    named = next((line[1] for line in lines if line[0] == "L"), "")
    latest = parse_history(told)
    found: dict[int, tuple[Switch, ...]] = {}
    for kind in (parse_name(line[1]) for line in lines if line[0] == "H"):
        if isinstance(kind, History):
            before = tuple(one for one in latest if one.timeline < kind.timeline)
            ancestor = kind.timeline in {one.timeline for one in latest} or history_name(kind.timeline) == named
            found[kind.timeline] = before if ancestor else ()
    return found
