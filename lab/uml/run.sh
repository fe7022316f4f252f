#!/usr/bin/env bash
# Runs a command on a whole kernel, in seconds and without KVM: in user-mode Linux, whose root is this machine's, read-only,
# with the caller's rights. The command is root in there, with a network, mounts and processes of its own; it starts in this
# folder, and may write beneath /run (TMPDIR is there). Its output and its exit code are this script's.
#
#   lab/uml/run.sh [--seconds N] [--memory MiB] COMMAND [ARGUMENT...]
#
# Exit code 124: not done in N seconds (600). 125: the kernel did not come so far, and said why.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() { printf 'uml: %s\n' "$*" >&2; exit 125; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit "$1"; }

seconds=600 memory=1024
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=${2:?} && shift 2 ;;
        --memory) memory=${2:?} && shift 2 ;;
        -h | --help) usage 0 ;;
        -*) usage 125 >&2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || usage 125 >&2
kernel=$(command -v linux.uml) || die "linux.uml is not installed: apt-get install user-mode-linux"

share=$(mktemp -d "${TMPDIR:-/tmp}/uml.XXXXXX") || exit 125
uml='' reader=''
# All processes of that kernel are of its group; those that it runs are processes of this machine, too.
end() {
    [ -n "$uml" ] || return 0
    kill -KILL -- "-$uml" 2>/dev/null
    { wait "$uml"; } 2>/dev/null
    while kill -0 -- "-$uml" 2>/dev/null; do sleep 0.02; done
    uml=
}
finish() {
    end
    [ -z "$reader" ] || kill "$reader" 2>/dev/null
    rm -rf "$share"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

{
    printf 'cd %q || exit 125\n' "$PWD"
    export -p | grep -vE '^declare -x (TMPDIR|XDG_[A-Z_]*|OLDPWD|PWD)='
    printf 'exec'
    printf ' %q' "$@"
    echo
} >"$share/command"
: >"$share/output"

set -m
HOME=$share "$kernel" "mem=${memory}M" rootfstype=hostfs rootflags=/ ro quiet "init=$here/init" "VDSM_UML=$share" \
    "uml_dir=$share/" con=null con0=null,fd:1 ssl=null </dev/null >"$share/console" 2>&1 &
uml=$!
set +m
tail -n +1 -f --pid=$uml "$share/output" &
reader=$!

deadline=$((SECONDS + seconds))
while kill -0 "$uml" 2>/dev/null && [ ! -s "$share/code" ]; do
    if [ $SECONDS -ge $deadline ]; then
        printf 'uml: not done in %d s: %s\n' "$seconds" "$*" >&2
        exit 124
    fi
    sleep 0.1
done
if [ ! -s "$share/code" ]; then
    end
    tail -n 20 "$share/console" >&2
    die "the kernel ended without running the command"
fi
code=$(<"$share/code")
end
# It ends once it has shown all.
wait "$reader"
reader=
exit "$code"
