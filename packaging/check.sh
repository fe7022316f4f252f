#!/usr/bin/env bash
# What can be told about packages without building one: every file of the manifest is there and every unit is in it; units
# expose no more than they may; the root helper's unit and the helper keep the same capabilities. Part of `make check`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
failed=0
wrong() {
    printf '%s\n' "$*"
    failed=1
}

while read -r source; do
    case $source in
        bin:* | gen:*) ;;
        *@flavour@*) for flavour in debian redhat; do
            [ -e "${source/@flavour@/$flavour}" ] || wrong "the manifest names ${source/@flavour@/$flavour}, which is not there"
        done ;;
        *) [ -e "$source" ] || wrong "the manifest names $source, which is not there" ;;
    esac
done < <(awk '$1 == "f" || $1 == "c" { print $3 }' packaging/manifest)
for file in packaging/systemd/* packaging/man/*; do
    grep -qF " $file " packaging/manifest || wrong "$file is not in the manifest"
done

# What confine.rs keeps, as the unit names it.
kept() { grep -oE '(CapabilitySet::|\()[A-Z_]+\b' bin/supervdsmd/src/confine.rs | sed -n 's/.*:://p' | sort -u; }
unit() { sed -n 's/^CapabilityBoundingSet=//p' packaging/systemd/supervdsmd.service | tr ' ' '\n' | sed 's/^CAP_//' | sort -u; }
diff <(kept) <(unit) >/dev/null ||
    wrong "supervdsmd keeps $(kept | tr '\n' ' ')but its unit $(unit | tr '\n' ' ')"

# Tenths: below 3.0 each.
if systemd-analyze security --help 2>/dev/null | grep -q -- --offline; then
    for service in packaging/systemd/*.service; do
        told=$(systemd-analyze security --offline=true --threshold=30 "$service" 2>&1) ||
            wrong "$service: $(tail -n 1 <<<"$told")"
    done
else
    echo 'skipped: systemd-analyze is not installed, or cannot judge units offline'
fi
exit $failed
