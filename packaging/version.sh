#!/usr/bin/env bash
# The version: packaging/version.sh [package|full]
#
#   (nothing)   of Cargo.toml, which is also what the programs tell: 0.1.0
#   package     what packages are stamped with: 0.1.0, and beyond the tag v0.1.0 the number of commits and the commit:
#               0.1.0+git412.8aa4550, with ".dirty" if the tree has changes that are not committed
#
# A release tarball has no git: there the file VERSION holds both, in two lines.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

plain() {
    sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml
}

stamped() {
    local version dirty='' tag
    version=$(plain)
    tag=$(git describe --tags --exact-match --match "v$version" 2>/dev/null || true)
    git diff --quiet HEAD -- 2>/dev/null || dirty=.dirty
    if [ -n "$tag" ] && [ -z "$dirty" ]; then
        echo "$version"
    else
        echo "$version+git$(git rev-list --count HEAD).$(git rev-parse --short=7 HEAD)$dirty"
    fi
}

case ${1:-plain} in
    plain) plain ;;
    package)
        if [ -e VERSION ]; then
            sed -n 2p VERSION
        elif git rev-parse HEAD >/dev/null 2>&1; then
            stamped
        else
            plain
        fi
        ;;
    *)
        echo "usage: packaging/version.sh [package]" >&2
        exit 2
        ;;
esac
