# What the harness of Rust's tests has printed, read by scripts/check.sh and scripts/lab-check.sh.
# shellcheck shell=bash disable=SC2034 # read by those two

# A test that says "skipped:" passed without testing all that it is for.
count_tests() { # log: sets passed, broken, skipped
    local totals
    totals=$(awk '
        /^test result:/ { passed += $4; failed += $6; ignored += $8 }
        /^---- / { told = 0 }
        /^ *skipped: / { if (!told++) skipped++ }
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

# The failed tests' names, and those of programs that ended without a result.
failed_tests() { # log
    grep -hE '^test .* FAILED$|^died: ' "$1"
}

# Runs what failed once more, by itself, if it is little, and says what came of it: a test that passes then depends on what ran beside
# it. The run is red all the same.
once_more() { # log of cargo test, more arguments for cargo...: sets findings
    local log=$1 targets tests program name
    shift
    findings=()
    # Cargo lists the targets that failed in the order in which they ran.
    mapfile -t targets < <(sed -n 's/^    `\(-.*\)`$/\1/p' "$log")
    mapfile -t tests < <(awk '
        /^test .* FAILED$/ { name[count++] = $2 }
        /^test result:/ {
            for (i = 0; i < count; i++) print programs + 0, name[i]
            if ($3 == "FAILED.") programs++
            count = 0
        }' "$log")
    # A program that died has no result, and then it is not known which is which.
    [ "$(grep -c '^test result: FAILED' "$log")" -eq "${#targets[@]}" ] || return 0
    [ "${#tests[@]}" -le 3 ] || return 0
    for name in "${tests[@]}"; do
        read -r program name <<<"$name"
        printf 'once more: %s\n' "$name"
        # shellcheck disable=SC2086 # "-p crate --test name"
        if cargo test --locked --color never "$@" ${targets[program]} -- --exact "$name" --show-output >"$log.again" 2>&1 &&
            grep -q '^test result: ok. 1 passed' "$log.again"; then
            findings+=("by itself it passes: $name")
        else
            findings+=("by itself it fails, too: $name")
        fi
    done
}
