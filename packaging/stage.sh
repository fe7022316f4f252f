# shellcheck shell=bash
# What the makers of packages have in common; sourced at the top of the tree.

arguments() { # MAKER [PROFILE=release|dev]: sets PROFILE.
    local maker=$1 word
    shift
    PROFILE=release
    for word; do
        case $word in
            PROFILE=*) PROFILE=${word#*=} ;;
            *)
                echo "$maker: not understood: $word" >&2
                exit 1
                ;;
        esac
    done
}

put_into() { # FOLDER FLAVOUR: the installation beneath a new folder. Symbols are for the tree, not for packages.
    install -d -m 0755 "$1"
    packaging/install.sh install DESTDIR="$1" PREFIX=/usr PROFILE="$PROFILE" FLAVOUR="$2"
    if command -v strip >/dev/null; then
        strip --strip-unneeded "$1"/usr/sbin/* "$1"/usr/bin/* "$1"/usr/libexec/vdsm/vdsm-*
    fi
}
