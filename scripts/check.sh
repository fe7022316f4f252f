#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, documentation, the architecture's checks,
# and all tests that this machine can run. Runs every part even if one fails, and ends with a summary whose
# last line counts the tests.
#
# Logs of the parts lie in target/check/. A test that cannot run on a machine prints "skipped: why"; such
# tests are counted apart.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. scripts/results.sh

logs=${CARGO_TARGET_DIR:-target}/check
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs"/summary
failed=0
summary=()

part() { # name, command...: runs it with its output in a log; shows the log's end if it fails
    local name=$1 log=$logs/$1.log start=$SECONDS
    shift
    printf '== %s\n' "$name"
    if "$@" >"$log" 2>&1; then
        summary+=("$(printf 'ok       %-10s %4d s' "$name" $((SECONDS - start)))")
    else
        failed=1
        summary+=("$(printf 'FAILED   %-10s %4d s  %s' "$name" $((SECONDS - start)) "$log")")
        tail -n 60 "$log"
    fi
}

skip() { # name, why
    summary+=("$(printf 'skipped  %-10s         %s' "$1" "$2")")
}

have() { command -v "$1" >/dev/null 2>&1; }

run_tests() {
    local log=$logs/tests.log start=$SECONDS status
    printf '== tests\n'
    scripts/test-programs.sh "$log"
    status=$?
    count_tests "$log"
    if [ "$status" -ne 0 ]; then
        show_failures "$log"
        once_more "$log"
    fi
    local result="$passed passed, $broken failed, $skipped skipped"
    if [ "$status" -eq 0 ]; then
        summary+=("$(printf 'ok       %-10s %4d s  %s' tests $((SECONDS - start)) "$result")")
    else
        failed=1
        summary+=("$(printf 'FAILED   %-10s %4d s  %s; %s' tests $((SECONDS - start)) "$result" "$log")")
    fi
}

# What this machine's kernel lacks, the kernel of user-mode Linux has. Tests that have run there were not skipped.
run_kernel_tests() {
    local log=$logs/kernel.log start=$SECONDS of_machine=("$passed" "$broken" "$skipped") result
    grep -qE '^ *skipped: .*this kernel' "$logs/tests.log" || return 0
    printf '== kernel\n'
    scripts/kernel-tests.sh "$logs/tests.log.d" "$log"
    case $? in
        0) result=ok ;;
        2) skip kernel "$(tail -n 1 "$log")" && return ;;
        *) result=FAILED failed=1 && show_failures "$log" ;;
    esac
    count_tests "$log"
    summary+=("$(printf '%-8s %-10s %4d s  %s passed, %s failed, %s skipped' $result kernel $((SECONDS - start)) \
        "$passed" "$broken" "$skipped")")
    skipped=$((of_machine[2] - passed - broken))
    passed=$((of_machine[0] + passed))
    broken=$((of_machine[1] + broken))
    elsewhere='this kernel'
}

# Tests leave nothing behind: no file in their temporary folder, no process that knows it, no mount. What a single
# test leaves in its own process (descriptors, threads) is the business of the crate guard.
open_temporary_folder() {
    mounts_before=$(cut -d' ' -f5 /proc/self/mountinfo | sort)
    # Short, since sockets lie beneath it; open, since some tests run programs as another user.
    TMPDIR=$(mktemp -d /tmp/vt.XXXX)
    chmod 1777 "$TMPDIR"
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
}

nothing_is_left() {
    local pid status=0
    for pid in /proc/[0-9]*; do
        [ "${pid#/proc/}" != $$ ] && [ "${pid#/proc/}" != $BASHPID ] || continue
        if tr '\0' '\n' <"$pid/cmdline" 2>/dev/null | grep -qF "$TMPDIR"; then
            printf 'a process is left: %s: %s\n' "${pid#/proc/}" "$(tr '\0' ' ' <"$pid/cmdline")"
            status=1
        fi
    done
    if [ -n "$(ls -A "$TMPDIR")" ]; then
        printf 'files are left in the temporary folder:\n'
        find "$TMPDIR" -maxdepth 2 | head -n 40
        status=1
    fi
    diff <(printf '%s\n' "$mounts_before") <(cut -d' ' -f5 /proc/self/mountinfo | sort) || status=1
    return $status
}

shell_scripts() {
    git ls-files '*.sh' .ci/run lab/uml/init
}

passed=0 broken=0 skipped=0 findings=()
part format cargo fmt --all -- --check
# The tests for lab hosts are built for nobody else, but linted here.
part lints cargo clippy --workspace --all-targets --features lab-tests/lab --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" part docs cargo doc --workspace --no-deps --document-private-items --locked
part packages packaging/check.sh
if have shellcheck; then
    # shellcheck disable=SC2046 # names without blanks
    part shell shellcheck --severity=warning $(shell_scripts)
    part guest shellcheck --severity=warning --shell=dash demo/guest/{initramfs-init,setup,writer,goodbye,powerbutton}
else
    skip shell "shellcheck is not installed"
fi
if [ -e deny.toml ] && cargo deny --version >/dev/null 2>&1; then
    part licences cargo deny --offline check bans licenses sources
else
    skip licences "cargo-deny is not installed"
fi
# Tests that run the programs find them beside one another. With the tests: what only tests ask of a library they share
# would make it, and what stands on it, be compiled once more.
part programs cargo build --workspace --locked --bins --tests
part layers "${CARGO_TARGET_DIR:-target}/debug/xtask" check
open_temporary_folder
run_tests
run_kernel_tests
part leftovers nothing_is_left

{
    printf '\n== summary\n'
    printf '%s\n' "${summary[@]}"
    {
        grep -hoE '^ *skipped: .*' "$logs/tests.log" | grep -v "${elsewhere:-^$}"
        [ -z "${elsewhere:-}" ] || grep -hoE '^ *skipped: .*' "$logs/kernel.log"
    } | sed 's/^ *//' | sort | uniq -c | sed 's/^/  /'
    failed_tests "$logs/tests.log"
    [ ! -e "$logs/kernel.log" ] || failed_tests "$logs/kernel.log"
    printf '%s\n' "${findings[@]}" | sed '/^$/d'
    if [ "$broken" -eq 0 ] && [ $failed -ne 0 ]; then
        printf 'a part failed\n'
    fi
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$broken" "$skipped"
} | tee "$logs/summary"
exit $failed
