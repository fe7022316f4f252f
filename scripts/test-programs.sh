#!/usr/bin/env bash
# Builds the workspace's tests and runs them, two programs at a time: they spend most of their time waiting, for daemons,
# leases and deadlines. Prints a line for each program, and each test that fails.
#
#   scripts/test-programs.sh LOG      LOG is written as by `cargo test --no-fail-fast`; TEST_JOBS=1: one program at a time
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
log=$1
parts=$log.d
rm -rf "$parts"
mkdir -p "$parts"

# Of each program, by tabs: its name here, what cargo calls it, its package's folder, its path.
list() { # messages of cargo
    awk '
        function field(name) {
            return match($0, "\"" name "\":\"[^\"]*\"") ? substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5) : ""
        }
        /"profile":{[^}]*"test":true}/ && /"executable":"/ {
            folder = field("manifest_path")
            sub("/Cargo.toml$", "", folder)
            package = field("package_id")
            sub(".*#", "", package)
            if (!sub("@.*", "", package)) {
                package = folder
                sub(".*/", "", package)
            }
            match($0, /"kind":\["[a-z-]*/)
            kind = substr($0, RSTART + 9, RLENGTH - 9)
            name = field("name")
            if (kind == "test" || kind == "bin") words = "--" kind " " name
            else words = "--lib"
            label = kind == "test" ? package "/" name : package
            printf "%s\t-p %s %s\t%s\t%s\n", label, package, words, folder, field("executable")
        }' "$1" | sort
}

# Short enough that whoever keeps only the end of a log keeps them all.
told() { # name, log of one program
    awk -v name="$1" '
        /^test .* FAILED$/ || /^died: / { print }
        /^test result: / { passed += $4; failed += $6; ignored += $8; time = $NF }
        END {
            if (passed + failed + ignored) printf "%5d %-36s %8s%s\n", passed, name, time, failed ? "  " failed " FAILED" : ""
        }' "$2"
}
export -f told

one() { # number, name, cargo's words, folder, program
    local part=$1 status=0
    printf '     Running %s (%s)\n' "$2" "$5" >"$part.log"
    (cd "$4" && CARGO_MANIFEST_DIR=$4 exec "$5" --color never --show-output) >>"$part.log" 2>&1 || status=1
    [ $status -eq 0 ] || printf '    `%s`\n' "$3" >"$part.failed"
    grep -q '^test result: ' "$part.log" || printf 'died: %s\n' "$2" >>"$part.log"
    told "$2" "$part.log"
    return $status
}
export -f one

# Of what cargo tests itself there is little.
documentation() {
    local part=$parts/documentation.log status=0
    cargo test --workspace --locked --no-fail-fast --color never --doc -- --show-output >"$part" 2>&1 || status=1
    told documentation "$part"
    return $status
}

status=0
if ! cargo test --workspace --locked --no-run --color never --message-format=json-render-diagnostics 2>"$log" >"$parts/messages"; then
    grep '^error' "$log"
    exit 1
fi
list "$parts/messages" >"$parts/list"
[ -s "$parts/list" ] || { echo "no program of tests" | tee -a "$log"; exit 1; }
# Numbered, each with the place of its logs; scripts/kernel-tests.sh reads this, too.
awk -F '\t' -v OFS='\t' -v parts="$parts" '{ print parts "/" sprintf("%03d", NR), $0 }' "$parts/list" >"$parts/numbered"
tr '\t' '\n' <"$parts/numbered" |
    xargs -d '\n' -n 5 -P "${TEST_JOBS:-2}" bash -c 'one "$@"' one || status=1
documentation || status=1
cat "$parts"/[0-9]*.log >>"$log"
cat "$parts"/[0-9]*.failed >>"$log" 2>/dev/null
cat "$parts/documentation.log" >>"$log"
exit $status
