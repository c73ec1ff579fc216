# The far-side worker: runs one process in a container or on another machine, so that it outlives the client that asked.
#
#   sh -c "$WORKER" runbook-worker run    DIR ID -- ARGV...    header, then the process's own input, on standard input
#   sh -c "$WORKER" runbook-worker status DIR ID               never-started | running PID | ended CODE | unknown
#   sh -c "$WORKER" runbook-worker fence  DIR ID               the same, and what never started never will
#   sh -c "$WORKER" runbook-worker kill   DIR ID GRACE         TERM to all that descends from it; KILL after GRACE seconds or more
#   sh -c "$WORKER" runbook-worker sweep  DIR                  removes the records of what has ended
#
# DIR is an absolute path, made with mode 0700; it has to be the user's own. A start record (pid, start time, boot id) is on
# the disk before the process executes, an exit record follows. An id that was begun is never begun again.
# The header (see worker.py) carries the environment, secret files and the folder: nothing secret is in an argv.
# POSIX sh; dash and busybox ash are tested. subreaper.sh stands before it, as one script.

die() {
    printf 'runbook-worker: %s\n' "$2" >&2
    exit "$1"
}

nap() { sleep 0.1 2>/dev/null || sleep 1; }

# The kernel's name for this boot, or nothing.
boot_id() {
    boot=
    [ -r /proc/sys/kernel/random/boot_id ] && read -r boot </proc/sys/kernel/random/boot_id
    printf %s "$boot"
}

# state, parent, session and start of a process, from /proc/PID/stat; fails if there is none.
look() {
    line=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    [ $# -ge 20 ] || return 1
    state=$1 parent=$2 session=$4
    shift 19
    start=$1
}

# Whether that pid with that start time lives.
lives() {
    if [ -d /proc/self ]; then
        look "$1" && [ "$start" = "$2" ] && case $state in [ZXx]) return 1 ;; esac
    else
        kill -0 "$1" 2>/dev/null
    fi
}

# Sets `home`, the folder of an id, and checks that nobody else can have prepared it.
find_home() {
    case $1 in /*) ;; *) die 125 "not an absolute path: $1" ;; esac
    case $2 in '' | *[!A-Za-z0-9_./:@+-]* | *..*) die 125 "not an id: $2" ;; esac
    key=$2
    while case $key in */*) true ;; *) false ;; esac; do key=${key%%/*}%${key#*/}; done
    home=$1/$key
}

# Fails unless it is a folder that this user, and nobody else, can have made.
own() { [ ! -L "$1" ] && [ -d "$1" ] && [ -O "$1" ] || die 125 "not a folder of this user: $1"; }

# Makes the folder of an id; fails if it is there.
make_home() {
    umask 077
    mkdir -p "$1" 2>/dev/null
    own "$1"
    case ${1%/*} in */.runbook-*) own "${1%/*}" ;; esac
    mkdir "$home" 2>/dev/null
}

# One line of the header: KIND NAME VALUE, the value with every odd byte as \0ooo, so that printf %b gives it back.
take_header() {
    read -r magic count || die 125 'no header'
    [ "$magic" = runbook-header-1 ] || die 125 'not a header of this version'
    while [ "$count" -gt 0 ]; do
        read -r kind name value || die 125 'the header is not complete'
        value=$(printf '%b.' "$value")
        value=${value%.}
        case $kind in
        env) export "$name=$value" ;;
        file)
            # the folder is made, and never one that is there: any user may have prepared that, with files of those names
            [ -n "$made" ] || mkdir "$secrets" || die 125 "no folder for secret files: $secrets"
            made=yes
            printf %s "$value" >"$secrets/$name" || die 125 "a secret file can't be written: $secrets/$name"
            export "$name=$secrets/$name"
            ;;
        folder) cd -- "$value" || die 125 "no such folder: $value" ;;
        umask) mask=$value ;;
        *) die 125 "not understood in the header: $kind" ;;
        esac
        count=$((count - 1))
    done
    value=
}

# Runs in the process that becomes the child: its record is on the disk, then it executes.
CHILD='
home=$1 mask=$2 start= boot=
export "RUNBOOK_OPERATION=$3" "RUNBOOK_RECORDS=$home"
shift 3
if [ -r "/proc/$$/stat" ]; then
    read -r line <"/proc/$$/stat"
    start=$(set -- ${line##*) }; shift 19; printf %s "$1")
    read -r boot </proc/sys/kernel/random/boot_id
fi
printf "%s %s %s\n" "$$" "${start:--}" "${boot:--}" >"$home/start.new" && ln "$home/start.new" "$home/start" || exit 125
sync "$home/start" "$home" "${home%/*}" "${home%/*/*}" "${home%/*/*/*}" 2>/dev/null || sync # the names of its folders, too
umask "$mask"
exec "$@"
'

# Runs it as a child of this shell; sets `code`.
direct() {
    $session sh -c "$CHILD" runbook-child "$home" "$mask" "$id" "$@" <&3 3<&- &
    child=$!
    exec 3<&- </dev/null 2>/dev/null # a shell tells on standard error which signal ended what it waits for
    trap 'kill -TERM "$child" 2>/dev/null' TERM
    while :; do
        wait "$child"
        code=$?
        kill -0 "$child" 2>/dev/null || break
    done
}

# Runs it below a subreaper, which may outlive this shell; sets `code`. Nothing told: the subreaper was killed.
kept() {
    exec 8>&1
    code=$(as_subreaper "$reaper" /bin/sh -c "$KEEPER" runbook-keeper \
        $session sh -c "$CHILD" runbook-child "$home" "$mask" "$id" "$@" <&3 3<&- 9>&1 >&8 8>&- &)
    exec 3<&- 8>&-
    [ -n "$code" ] || die 125 'the process that keeps what runs here was killed'
}

run() {
    dir=$1 id=$2
    shift 2
    [ "$1" = -- ] && shift
    [ $# -gt 0 ] || die 125 'nothing to run'
    mask=$(umask)
    find_home "$dir" "$id"
    make_home "$dir" || die 125 "was begun already, or can't be: $id in $dir"
    secrets=$home/files
    [ -d /dev/shm ] && [ -w /dev/shm ] && secrets=/dev/shm/.runbook-files-$(id -u)-$$-$key
    printf '%s\n' "$secrets" >"$home/secrets" || die 125 "nothing can be recorded in $home"
    own_secrets=$secrets
    trap 'rm -rf "$own_secrets"' EXIT # also where the header breaks off, or the records are swept away meanwhile
    made=
    take_header
    trap '' HUP
    session=
    command -v setsid >/dev/null 2>&1 && session=setsid
    reaper=
    if postmaster_first && ! find_subreaper "$home"; then
        printf 'runbook-worker: PID 1 here is a database server, and nothing here can keep orphans from it: %s\n' \
            'if this has to be ended, the server may end all sessions. The remedy: init: true in the Compose file.' >&2
    fi
    exec 3<&0
    if [ -n "$reaper" ]; then kept "$@"; else direct "$@"; fi
    printf '%s\n' "$code" >"$home/exit.new" && mv "$home/exit.new" "$home/exit"
    exit "$code"
}

# Removes the secret files of an id, wherever its worker put them.
forget_secrets() {
    secrets=
    [ -r "$home/secrets" ] && read -r secrets <"$home/secrets"
    case $secrets in *..*) ;; /dev/shm/.runbook-files-* | "$home/files") rm -rf "$secrets" ;; esac
}

# Sets `told` to what is known, and `pid`, `begun` where there is a start record.
ask() {
    find_home "$1" "$2"
    told=never-started pid='' begun=''
    if [ -r "$home/exit" ]; then
        read -r code <"$home/exit"
        told="ended $code"
    fi
    [ -r "$home/start" ] || return 0
    read -r pid begun boot_then <"$home/start"
    boot_now=$(boot_id)
    [ "$pid" = fenced ] && pid='' && return 0
    [ "$told" != never-started ] && return 0
    told=unknown
    if [ "$boot_then" = "${boot_now:--}" ] && lives "$pid" "$begun"; then told="running $pid"; fi
}

# Whoever makes the file `start` first has won: a worker that comes later executes nothing.
fence() {
    ask "$1" "$2"
    if [ "$told" = never-started ]; then
        make_home "$1"
        printf 'fenced - -\n' >"$home/fenced"
        ln "$home/fenced" "$home/start" 2>/dev/null || ask "$1" "$2"
    fi
    printf '%s\n' "$told"
}

# Those whose environment names these records, as another run's of the same id does not: one grep for all, where it knows
# NUL-terminated lines.
marked() {
    mark="RUNBOOK_RECORDS=$home"
    if printf 'a\0b\0' | grep -qzxF b 2>/dev/null; then
        holders=$(grep -lzxF "$mark" /proc/[0-9]*/environ 2>/dev/null)
    else
        holders=$(for entry in /proc/[0-9]*/environ; do
            tr '\0' '\n' 2>/dev/null <"$entry" | grep -qxF "$mark" && echo "$entry"
        done)
    fi
    for entry in $holders; do
        entry=${entry#/proc/}
        [ "${entry%/environ}" = $$ ] || printf '%s ' "${entry%/environ}"
    done
}

# All living processes that are the child, descend from it, share its session, or carry its mark; `home` is its folder.
family() {
    found=" $pid "
    look "$pid" && [ "$start" != "$begun" ] && found=' ' # the number was given to a stranger
    found="$found$(marked) "
    grown=yes
    while [ -n "$grown" ]; do
        grown=
        for entry in /proc/[0-9]*; do
            one=${entry#/proc/}
            case $found in *" $one "*) continue ;; esac
            look "$one" || continue
            case $found in *" $parent "* | *" $session "*) ;; *) continue ;; esac
            found="$found$one "
            grown=yes
        done
    done
    living=
    for one in $found; do
        look "$one" || continue
        case $state in [ZXx]) continue ;; esac
        living="$living $one"
    done
}

# Whole seconds of a clock that nobody sets.
seconds() {
    if [ -r /proc/uptime ]; then
        read -r now rest </proc/uptime
        now=${now%%.*}
    else
        now=$(date +%s)
    fi
}

end() {
    ask "$1" "$2"
    [ -n "$pid" ] || return 0
    kill_at=
    while family 2>/dev/null && [ -n "$living" ]; do
        seconds # only now: to find them takes its time, which is none of their grace
        if [ -z "$kill_at" ]; then
            kill_at=$now
            if [ "$3" -gt 0 ]; then
                kill -TERM $living 2>/dev/null
                kill -CONT $living 2>/dev/null
                kill_at=$((now + $3 + 1)) # the clock says whole seconds, and this one may be over at once
            fi
        fi
        [ "$now" -ge "$kill_at" ] && kill -KILL $living 2>/dev/null
        [ "$now" -gt $((kill_at + 30)) ] && die 1 "still there after KILL:$living"
        nap
    done
    forget_secrets
    return 0
}

sweep() {
    own "$1"
    for home in "$1"/*; do
        [ -d "$home" ] && [ ! -L "$home" ] || continue
        over=
        if [ -f "$home/exit" ] || [ -f "$home/fenced" ]; then
            over=yes
        elif [ -r "$home/start" ]; then # its worker was killed: nobody will ever write how it ended
            read -r pid begun rest <"$home/start"
            lives "$pid" "$begun" || over=yes
        else # nothing was executed; a worker that still comes finds no place for its record, and executes nothing
            over=yes
        fi
        [ -n "$over" ] && forget_secrets && rm -rf "$home"
    done
    rmdir "$1" 2>/dev/null
    return 0
}

mode=$1
shift
case $mode in
run) run "$@" ;;
status) ask "$@" && printf '%s\n' "$told" ;;
fence) fence "$@" ;;
kill) end "$@" ;;
sweep) sweep "$@" ;;
*) die 125 "not a mode: $mode" ;;
esac
