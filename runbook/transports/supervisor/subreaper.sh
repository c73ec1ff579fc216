# A keeper for what loses its parent, where PID 1 must not get it. Read before worker.sh, as one script.
#
# In a container without an init, PID 1 is the program itself. A PostgreSQL postmaster takes every child for a backend: one of
# which it knows nothing, that a signal ended or that left with another code than 0 and 1, is a crash to it, and it ends all
# sessions (CleanupBackend in postmaster.c). So the worker there runs its child below a shell that is a subreaper
# (prctl(2), PR_SET_CHILD_SUBREAPER, kept across execve): orphans become that shell's, and it ends with 0, whatever they do.
# No POSIX program can ask for that, so one of these does: perl (part of every Debian image), python3, or 181 bytes of machine
# code. Where none of them works the process runs as before, and a line on standard error says what it may cost.

# Whether PID 1 is a database server.
postmaster_first() {
    first=
    [ -r /proc/1/comm ] && read -r first </proc/1/comm
    case $first in *postgres* | postmaster) ;; *) return 1 ;; esac
}

SUBREAPER_PERL='$n = shift() + 0; length(pack "L!", 0) == 8 && syscall($n, 36, 1, 0, 0, 0) == 0 or exit 126;
exec { $ARGV[0] } @ARGV; exit 126'

# python ignores two signals for itself, and would pass that on.
SUBREAPER_PYTHON='import ctypes, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
one = [ctypes.c_ulong(n) for n in (1, 0, 0, 0)]
ctypes.CDLL(None).prctl(36, *one) == 0 or sys.exit(126)
os.execv(sys.argv[1], sys.argv[1:])'

# An ELF header, one segment, and: prctl(36, 1, 0, 0, 0); if it is 0, execve(argv[1], argv + 1, envp); exit(126).
SUBREAPER_HEAD='\177ELF\002\001\001\000\000\000\000\000\000\000\000\000\002\000'
SUBREAPER_BODY='\000\001\000\000\000\170\000\100\000\000\000\000\000\100\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\100\000\070\000\001\000\000\000\000\000\000\000\001\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000\000\000\100\000\000\000\000\000\000\000\100\000\000\000\000\000'

# Writes the program for this machine to a file.
subreaper_program() {
    case $(uname -m) in
    x86_64) kind='\076' size='\265\000\000\000\000\000\000\000' code='\277\044\000\000\000\276\001\000\000\000\061\322\105\061\322\105\061\300\270\235\000\000\000\017\005\205\300\165\024\130\137\110\213\074\044\110\211\346\110\215\024\304\270\073\000\000\000\017\005\277\176\000\000\000\270\074\000\000\000\017\005' ;;
    aarch64) kind='\267' size='\274\000\000\000\000\000\000\000' code='\200\004\200\322\041\000\200\322\002\000\200\322\003\000\200\322\004\000\200\322\350\024\200\322\001\000\000\324\340\000\000\265\351\003\100\371\340\013\100\371\341\103\000\221\042\014\011\213\250\033\200\322\001\000\000\324\300\017\200\322\250\013\200\322\001\000\000\324' ;;
    *) return 1 ;;
    esac
    printf "$SUBREAPER_HEAD$kind$SUBREAPER_BODY$size$size\\000\\020\\000\\000\\000\\000\\000\\000$code" >"$1" && chmod 700 "$1"
}

# Executes the rest of its arguments as a subreaper, in the way that the first one names.
as_subreaper() {
    way=$1
    shift
    case $way in
    perl)
        case $(uname -m) in
        x86_64) number=157 ;;
        aarch64 | riscv64 | loongarch64) number=167 ;;
        ppc64*) number=171 ;;
        s390x) number=172 ;;
        *) exit 126 ;;
        esac
        exec perl -e "$SUBREAPER_PERL" "$number" "$@"
        ;;
    python3) exec python3 -I -S -c "$SUBREAPER_PYTHON" "$@" ;;
    *) exec "$way" "$@" ;;
    esac
}

# Sets `reaper` to a way that works here, or to nothing. The folder is one for a program, should it need one.
find_subreaper() {
    for reaper in perl python3 "$1/subreaper"; do
        case $reaper in /*) subreaper_program "$reaper" ;; *) command -v "$reaper" ;; esac >/dev/null 2>&1 || continue
        (as_subreaper "$reaper" /bin/sh -c 'exit 0') >/dev/null 2>&1 </dev/null && return 0
    done
    reaper=
    return 1
}

# Runs in the subreaper: starts the child, tells on descriptor 9 how it ended, and stays while anything of it is left.
KEEPER='
trap : TERM
exec 3<&0
"$@" <&3 3<&- 9>&- &
child=$!
exec 3<&- </dev/null >/dev/null 2>&1
cd /
while :; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
done
printf "%s\n" "$code" >&9
exec 9>&-
while left= && { read -r left </proc/$$/task/$$/children || :; } 2>/dev/null && [ -n "$left" ]; do sleep 1; done
exit 0
'
