#!/usr/bin/env bash
# Lab hosts by hand: builds the image if it is not in the cache, then starts hosts that stay until `stop`.
#
#   scripts/lab.sh up [HOSTS]       one or two hosts (two: on one private network, with shared disks)
#   scripts/lab.sh run HOST CMD     runs a command line on one; the exit code is the command's
#   scripts/lab.sh stop             ends them
#
# LAYER=installed starts them with the product installed (after a `make lab-check`), MEMORY=MiB with more memory.
# LAB_DIR is the folder for all of it: ${XDG_CACHE_HOME:-~/.cache}/vdsm-rs/lab if it is not set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:$HOME/.cargo/bin

lab() {
    cargo build -q --locked -p hosts || { echo "lab: the harness does not build" >&2; exit 1; }
    "${CARGO_TARGET_DIR:-target}/debug/vdsm-lab" "$@"
}

case ${1:-} in
up)
    scripts/deps.sh --lab
    lab/hosts/image/build.sh >/dev/null
    options=(--hosts "${2:-1}")
    if [ -n "${LAYER:-}" ]; then options+=(--layer "$LAYER"); fi
    if [ -n "${MEMORY:-}" ]; then options+=(--memory "$MEMORY"); fi
    lab up "${options[@]}"
    ;;
run)
    [ -n "${3:-}" ] || { echo "lab: no command: make lab-run CMD='...'" >&2; exit 2; }
    lab run "${2:-1}" -- "$3"
    ;;
stop) lab down ;;
*)
    sed -n '2,/^set/ { /^#/ s/^# \{0,1\}//p }' "$0" >&2
    exit 2
    ;;
esac
