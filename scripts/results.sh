# What the harness of Rust's tests has printed, read by scripts/check.sh and scripts/lab-check.sh.
# shellcheck shell=bash disable=SC2034 # read by those two

count_tests() { # log: sets passed, broken, skipped. A test that says "skipped:" passed without testing.
    local totals
    totals=$(awk '
        /^test result:/ { passed += $4; failed += $6; ignored += $8 }
        /^ *skipped: / { skipped++ }
        END { print passed + 0, failed + 0, ignored + 0, skipped + 0 }' "$1")
    local ignored quiet
    read -r passed broken ignored quiet <<<"$totals"
    passed=$((passed > quiet ? passed - quiet : 0))
    skipped=$((ignored + quiet))
}

# Of each program with failed tests: what these printed.
show_failures() { # log
    awk '
        /^failures:$/ { on = 1; shown = 0 }
        /^ +[0-9]+: / || /^ +at / { next }
        on && shown++ < 60 { print substr($0, 1, 300) }
        /^test result:/ { on = 0 }' "$1"
}

# The failed tests' names.
failed_tests() { # log
    grep -hE '^test .* FAILED$' "$1"
}
