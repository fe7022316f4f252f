#!/usr/bin/env bash
# Installs what packaging/manifest lists, or takes it away again.
#
#   packaging/install.sh install|uninstall [DESTDIR=/stage] [PREFIX=/usr] [PROFILE=release|dev] [FLAVOUR=debian|redhat]
#
# The programs must have been built (make does it). DESTDIR stages: nothing of the machine is touched then. Without it
# root installs here; users, folders and units are then set up as the packages do it, see docs/packaging.md.
# uninstall takes the same values. It leaves what is not in the manifest, and configuration that was changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

command=${1:-}
shift || true
for word in "$@"; do
    case $word in
        DESTDIR=* | PREFIX=* | PROFILE=* | FLAVOUR=*) declare "$word" ;;
        *) die "not understood: $word" ;;
    esac
done
DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr}
PROFILE=${PROFILE:-release}
case $PROFILE in
    dev) built=debug ;;
    *) built=$PROFILE ;;
esac
built=${CARGO_TARGET_DIR:-target}/$built

flavour() {
    local ID='' ID_LIKE=''
    # shellcheck disable=SC1091 # the machine's own
    if [ -e /etc/os-release ]; then . /etc/os-release; fi
    case " $ID $ID_LIKE " in
        *' debian '* | *' ubuntu '*) echo debian ;;
        *) echo redhat ;;
    esac
}
FLAVOUR=${FLAVOUR:-$(flavour)}
[ -d "packaging/$FLAVOUR" ] || die "no such flavour: $FLAVOUR"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

entries() { # kind, mode, source, path of each entry
    sed -e '/^#/d' -e '/^$/d' -e "s|@prefix@|$PREFIX|g" -e "s|@flavour@|$FLAVOUR|g" packaging/manifest |
        while read -r kind mode first second; do
            case $kind in
                d) printf '%s %s - %s\n' "$kind" "$mode" "$first" ;;
                *) printf '%s %s %s %s\n' "$kind" "$mode" "$first" "$second" ;;
            esac
        done
}

generate() { # name: prints what is made from the programs
    case $1 in
        vdsm.conf) "$built/vdsm-tool" config default ;;
        *.1) "$built/${1%.1}" man ;;
        *.bash | *.zsh | *.fish) "$built/${1%.*}" completion "${1##*.}" ;;
        *) die "it is not known how to make $1" ;;
    esac
}

content() { # source, path: prints the file as it is installed
    case $1 in
        bin:*) cat "$built/${1#bin:}" ;;
        gen:*) generate "${1#gen:}" ;;
        packaging/systemd/*) sed "s|/usr/sbin/|$PREFIX/sbin/|; s|=/usr/bin/vdsm|=$PREFIX/bin/vdsm|" "$1" ;;
        *) cat "$1" ;;
    esac | case $2 in
        *.gz) gzip -9n ;;
        *) cat ;;
    esac
}

make_content() { # source, path, into: with a message that names what is missing
    case $1 in
        bin:*) [ -x "$built/${1#bin:}" ] || die "$built/${1#bin:} is not there: build it first" ;;
        gen:*) ;;
        *) [ -e "$1" ] || die "the manifest names $1, which is not in the tree" ;;
    esac
    content "$1" "$2" >"$3" || die "cannot make $2 from $1"
    [ -s "$3" ] || die "$2 from $1 is empty"
}

do_install() {
    local kind mode source path target
    while read -r kind mode source path; do
        target=$DESTDIR$path
        case $kind in
            d) install -d -m "$mode" "$target" ;;
            f | c)
                if [ "$kind" = c ] && [ -e "$target" ]; then continue; fi
                make_content "$source" "$path" "$work/file"
                install -D -m "$mode" "$work/file" "$target"
                ;;
            *) die "the manifest has an entry of kind $kind" ;;
        esac
    done < <(entries)
}

do_uninstall() {
    local kind mode source path target
    while read -r kind mode source path; do
        target=$DESTDIR$path
        if [ "$kind" = d ] || ! [ -e "$target" ]; then continue; fi
        if [ "$kind" = c ]; then
            make_content "$source" "$path" "$work/file"
            if ! cmp -s "$work/file" "$target"; then
                printf 'install: kept, since it was changed: %s\n' "$target" >&2
                continue
            fi
        fi
        rm -f "$target"
    done < <(entries)
    # Folders that are empty now: beneath DESTDIR all, on the machine itself only those that nobody else uses.
    while read -r kind mode source path; do
        [ "$kind" = d ] || path=${path%/*}
        while [ -n "$path" ]; do
            case $DESTDIR$path in
                "$path") [[ $path == *vdsm* ]] || break ;;
            esac
            rmdir "$DESTDIR$path" 2>/dev/null || [ ! -d "$DESTDIR$path" ] || break
            path=${path%/*}
        done
    done < <(entries | sort -r -k4)
}

case $command in
    install) do_install ;;
    uninstall) do_uninstall ;;
    *) die "usage: packaging/install.sh install|uninstall [DESTDIR=] [PREFIX=] [PROFILE=] [FLAVOUR=]" ;;
esac
