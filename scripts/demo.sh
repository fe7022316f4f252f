#!/usr/bin/env bash
# Builds in release mode, makes the guest's disk image, and shows the agent end to end.
#
#   KEEP=1             keeps the folder with all files of the run
#   ACCELERATOR=tcg    instead of auto: KVM if it truly works, else software
#   SCREENSHOT=FILE    where the picture of the guest's screen goes (default: vdsm-demo.png in target/)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
export PATH=$PATH:$HOME/.cargo/bin
scripts/deps.sh
# The same programs as those of the packages, so that nothing is built twice.
make --no-print-directory programs PROFILE=release
image=$(demo/guest/build.sh)
options=(--guest-image "$image" --screenshot "${SCREENSHOT:-$target/vdsm-demo.png}")
options+=(--accelerator "${ACCELERATOR:-auto}")
if [ -n "${KEEP:-}" ]; then options+=(--keep); fi
# From here on Ctrl-C is the demo's own affair: it ends what it started.
exec "$target/release/vdsm-tool" demo "${options[@]}"
