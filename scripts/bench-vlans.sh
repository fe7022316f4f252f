#!/usr/bin/env bash
# The figures of networks on a kernel that has VLANs, whatever this machine's has: `cargo bench -p net-apply --bench apply` in
# user-mode Linux. Its system calls are dearer than the machine's: the ratios to `ip -batch` in the same run tell more.
#
#   scripts/bench-vlans.sh [calls]      calls: only system calls and messages are counted
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:$HOME/.cargo/bin

program=$(cargo bench -p net-apply --locked --bench apply --no-run --message-format=json |
    sed -n '/"name":"apply"/ s/.*"executable":"\([^"]*\)".*/\1/p')
exec lab/uml/run.sh --seconds 1800 "$program" --bench "$@"
