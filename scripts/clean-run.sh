#!/usr/bin/env bash
# What continuous integration does, in a clean clone of HEAD: finds what only works in a used tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-clean.XXXXXX")
trap 'rm -rf "$folder"' EXIT
git clone -q . "$folder/tree"
unset CARGO_TARGET_DIR
bash "$folder/tree/.ci/run"
