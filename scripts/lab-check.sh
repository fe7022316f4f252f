#!/usr/bin/env bash
# The tests that need lab hosts: builds the package and the image, makes a snapshot of a host with the package
# installed, runs every `lab_` test, and ends with a summary whose last line counts them.
#
#   scripts/lab-check.sh [FILTER...]     only tests whose names contain one of these
#
# Logs lie in target/lab-check/ (commands/: what was run on each host, with seconds), evidence of failed tests in target/lab/<test>/. docs/lab.md tells more.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. scripts/results.sh
export PATH=$PATH:$HOME/.cargo/bin

target=${CARGO_TARGET_DIR:-target}
logs=$target/lab-check
cache=${LAB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/vdsm-rs/lab}
mkdir -p "$logs/commands"
rm -f "$logs"/*.log "$logs"/commands/* "$logs"/*.status "$logs"/summary
# Held by this shell alone: what it starts may outlive a Ctrl-C by a moment.
exec 8>"$logs/lock"
flock -n 8 || { echo "lab-check: another one of this tree is under way" >&2; exit 1; }
failed=0
summary=()
began=$SECONDS
passed=0 broken=0 skipped=0 findings=()
# What runs in the background, by name.
declare -A job=() job_start=()

finish() { # the summary; the one way out
    [ ${#job[@]} -eq 0 ] || kill "${job[@]}" 2>/dev/null
    {
        printf '\n== summary of the lab\n'
        printf '%s\n' "${summary[@]}"
        printf '%s\n' "${findings[@]}" | sed '/^$/d'
        [ $failed -eq 0 ] || [ "$broken" -ne 0 ] || printf 'a part failed\n'
        printf '%d passed, %d failed, %d skipped\n' "$passed" "$broken" "$skipped"
    } | tee "$logs/summary"
    exit $failed
}

noted() { # result, name, seconds, more
    summary+=("$(printf '%-8s %-10s %4d s  %s' "$@")")
}

part() { # name, command...: runs it with its output in a log; shows the log's end and ends all if it fails
    local name=$1 log=$logs/$1.log start=$SECONDS
    shift
    printf '== %s\n' "$name"
    if "$@" >"$log" 2>&1 8>&-; then
        noted ok "$name" $((SECONDS - start)) "$(grep -m1 '^skipped: ' "$log")"
    else
        failed=1
        noted FAILED "$name" $((SECONDS - start)) "$log"
        tail -n 60 "$log"
        finish
    fi
}

# Ctrl-C: the hosts end with the tests' process, and what it leaves on disk is taken away here.
interrupted() {
    trap - INT TERM
    [ ${#job[@]} -eq 0 ] || kill "${job[@]}" 2>/dev/null
    "$target/debug/vdsm-lab" clear 2>/dev/null
    printf 'lab-check: interrupted\n' >&2
    exit 130
}
trap interrupted INT TERM

# A part that has one processor's work, beside others: until `ends`.
begins() { # name, command...
    local name=$1
    shift
    printf '== %s (in the background)\n' "$name"
    job_start[$name]=$EPOCHSECONDS
    "$@" >"$logs/$name.log" 2>&1 8>&- &
    job[$name]=$!
}

ends() { # name
    local name=$1 status=0 took
    wait "${job[$name]}" || status=$?
    unset "job[$name]"
    # It may have ended long before: with its last word.
    took=$(($(stat -c %Y "$logs/$name.log") - job_start[$name]))
    if [ $status -eq 0 ]; then
        noted ok "$name" "$took" "$(grep -m1 '^skipped: ' "$logs/$name.log")"
    else
        failed=1
        noted FAILED "$name" "$took" "$logs/$name.log"
        tail -n 60 "$logs/$name.log"
        finish
    fi
}

package() { make --no-print-directory deb; }

# Tests of a crate that need NetworkManager, which is on no developer's machine: where they lie.
networkmanager_tests() {
    cargo build --locked --workspace --features lab-tests/lab --test networkmanager --message-format=json |
        sed -n '/"test":true/ s/.*"executable":"\([^"]*\)".*/\1/p' >"$logs/networkmanager.path"
    [ -s "$logs/networkmanager.path" ]
}

# The demo's guest: the tests of the installed agent run it.
guest() { VDSM_GUEST=$(demo/guest/build.sh) && [ -e "$VDSM_GUEST" ]; }

# With what `make check` built, nothing is built twice: the same features for the same libraries.
harness() {
    cargo build --locked --workspace --features lab-tests/lab --bin vdsm-lab --test lab --test networkmanager
}

installed() {
    local packages=("$target"/package/vdsm-rs_*.deb)
    [ -e "${packages[0]}" ] || { echo "make deb left no package in $target/package"; return 1; }
    "$target/debug/vdsm-lab" layer installed --hosts 2 --script lab/tests/installed.sh --file "${packages[-1]}"
}

# How many tests at once: two, as hosts often wait for themselves; if there is memory for two hosts of each.
side_by_side() {
    local free
    free=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
    if [ -n "${LAB_JOBS:-}" ]; then echo "$LAB_JOBS"; elif [ "${free:-0}" -ge 9 ]; then echo 2; else echo 1; fi
}

run_tests() { # filters...
    local log=$logs/tests.log start=$SECONDS status
    printf '== tests\n'
    # The exit code goes through a file: a pipeline that ends in "|| true" has none of its own.
    {
        cargo test --locked --workspace --features lab-tests/lab --test lab --no-fail-fast --color never -- \
            --test-threads="$(side_by_side)" --show-output "$@" 2>&1
        echo $? >"$logs/tests.status"
    } 8>&- | tee "$log" |
        grep --line-buffered -E '^test .*|^lab: |^(ok|FAILED)$|^test result|^error|^---- ' || true
    status=$(<"$logs/tests.status")
    count_tests "$log"
    if [ "$status" -ne 0 ]; then
        show_failures "$log"
        once_more "$log" --features lab
    fi
    local result="$passed passed, $broken failed, $skipped skipped"
    if [ "$status" -eq 0 ]; then
        noted ok tests $((SECONDS - start)) "$result"
    else
        failed=1
        noted FAILED tests $((SECONDS - start)) "$result; $log"
        failed_tests "$log"
    fi
}

# Tests leave nothing behind: no folder of running hosts, no process that knows one. Another run beside this one holds the
# lock of its folder; all of ours have ended.
nothing_is_left() {
    local folder pid status=0
    for folder in "$cache"/run/*; do
        case $folder in *.lock) continue ;; esac
        [ -e "$folder" ] || continue
        if [ -e "$folder.lock" ] && ! flock -n "$folder.lock" true; then
            printf 'of another run: %s\n' "$folder"
            continue
        fi
        printf 'files are left:\n'
        find "$folder" -maxdepth 2 | head -n 40
        status=1
        for pid in /proc/[0-9]*; do
            if tr '\0' '\n' <"$pid/cmdline" 2>/dev/null | grep -qF "$folder/"; then
                printf 'a process is left: %s: %s\n' "${pid#/proc/}" "$(tr '\0' ' ' <"$pid/cmdline" | cut -c1-300)"
            fi
        done
    done
    return $status
}

# What all of it takes on disk.
disk() {
    du -shc --exclude=lost+found "$cache" "$target"/{package,lab-check,lab} 2>/dev/null | sed 's/^/disk  /'
}

part programs scripts/deps.sh --lab
# The image is mostly downloading and unpacking, the harness and the package mostly compiling.
begins image lab/hosts/image/build.sh
part harness harness
part package package
# Both packages are of the same build, which is whole now.
begins rpm packaging/rpm-check.sh PROFILE=release
part tests-nm networkmanager_tests
VDSM_NETWORKMANAGER_TESTS=$(<"$logs/networkmanager.path")
export VDSM_NETWORKMANAGER_TESTS
part guest guest
export VDSM_GUEST
ends image
"$target/debug/vdsm-lab" clear
part installed installed
ends rpm
# By its own name: another run may install another package meanwhile.
LAB_LAYER=$(tail -n 1 "$logs/installed.log")
export LAB_LAYER
# Of each host what was run there, with seconds.
LAB_COMMANDS=$(realpath "$logs/commands")
export LAB_COMMANDS
run_tests "$@"
part leftovers nothing_is_left
noted ok size 0 "image $(du -sh --exclude=layers "$cache/current/" | cut -f1)"
noted ok disk 0 "$(disk | awk '$3 == "total" { print $2 }') in $cache and $target/{package,lab-check,lab}"
noted total all $((SECONDS - began)) ""
finish
