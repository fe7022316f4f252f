#!/usr/bin/env bash
# Runs again, in user-mode Linux, the tests that skipped themselves for what this machine's kernel lacks.
#
#   scripts/kernel-tests.sh TESTS LOG    TESTS: the folder of scripts/test-programs.sh; LOG is written as it writes its own
#
# Exit code 1: a test failed. 2: nothing was run, as user-mode Linux does not run here (LOG says why).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
tests=$1
log=$2
: >"$log"
if ! lab/uml/run.sh --seconds 120 true >>"$log" 2>&1; then
    printf 'user-mode Linux does not run here: %s\n' "$(tail -n 1 "$log")" | tee -a "$log"
    exit 2
fi

# Of one program: the names of the tests that wanted more of this kernel.
wanting() {
    awk '/^---- / { name = $2 } /^ *skipped: .*this kernel/ && name != last { print last = name }' "$1"
}

status=0
while IFS=$'\t' read -r part name words folder program; do
    mapfile -t names < <(wanting "$part.log")
    [ "${#names[@]}" -gt 0 ] || continue
    printf '     Running %s (%s)\n' "$name" "$program" >"$part.kernel"
    (
        cd "$folder" || exit 1
        export CARGO_MANIFEST_DIR=$folder
        "$OLDPWD/lab/uml/run.sh" --seconds 1200 "$program" --color never --show-output --exact "${names[@]}"
    ) >>"$part.kernel" 2>&1 || { status=1; printf '    `%s`\n' "$words" >>"$part.kernel"; }
    grep -q '^test result: ' "$part.kernel" || printf 'died: %s\n' "$name" >>"$part.kernel"
    grep -E '^test .* FAILED$|^died: ' "$part.kernel"
    awk -v name="$name" '/^test result: / { printf "%5d %-36s %8s\n", $4, name, $NF }' "$part.kernel"
    cat "$part.kernel" >>"$log"
done <"$tests/numbered"
exit $status
