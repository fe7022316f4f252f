#!/usr/bin/env bash
# Proves that the release's tarballs are whole: packaging/distcheck.sh [--keep]
#
# Unpacks both into a folder that is read-only from then on, without git, with an empty CARGO_HOME and no network; builds
# in another folder; runs plain tests; installs to a staging folder; starts the staged agent and pings it; uninstalls; and
# nothing may be left. Controls at the end: a tree that lacks a file, and a manifest that lacks an entry, must turn it red.
#
#   DISTCHECK_TESTS   words for cargo test (default: the crates of model/ and a few more); "none" runs none
#   --keep            keeps the folder and says where it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'distcheck: %s\n' "$*"; }
die() {
    printf 'distcheck: FAILED: %s\n' "$*" >&2
    exit 1
}

if [ "${1:-}" = --inside ]; then
    # In namespaces of its own, if that could be: see below.
    work=$2
else
    keep=no
    [ "${1:-}" != --keep ] || keep=yes
    say "making the tarballs"
    mapfile -t tarballs < <(packaging/dist.sh)
    for tarball in "${tarballs[@]}"; do say "$tarball: $(du -h "$tarball" | cut -f1)"; done
    work=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-dist.XXXXXX")
    if [ $keep = no ]; then trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT; else say "kept: $work"; fi
    mkdir "$work/unpacked" "$work/home" "$work/cargo-home" "$work/stage"
    for tarball in "${tarballs[@]}"; do tar -C "$work/unpacked" -xf "$tarball"; done
    chmod -R a-w "$work/unpacked"
    # Root writes where modes forbid it: a read-only mount does not let it. Both want namespaces.
    isolate=(unshare --mount --net)
    [ "$(id -u)" = 0 ] || isolate=(unshare --map-root-user --mount --net)
    if ! "${isolate[@]}" true 2>/dev/null; then
        say "no namespaces can be made here: the tree is read-only by modes alone, and the network is not cut"
        isolate=()
    fi
    sysroot=$(rustc --print sysroot)
    "${isolate[@]}" env -i HOME="$work/home" PATH="$sysroot/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        CARGO_HOME="$work/cargo-home" CARGO_TARGET_DIR="$work/build" CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0 \
        CARGO_PROFILE_DEV_DEBUG=0 CARGO_TERM_COLOR=never GIT_CEILING_DIRECTORIES="$work" \
        DISTCHECK_TESTS="${DISTCHECK_TESTS:-}" ISOLATED="${#isolate[@]}" \
        bash "$work"/unpacked/vdsm-rs-*/packaging/distcheck.sh --inside "$work"
    exit
fi

tree=$(echo "$work"/unpacked/vdsm-rs-*)
if [ "$ISOLATED" -gt 0 ]; then
    mount --bind "$work/unpacked" "$work/unpacked"
    mount -o remount,bind,ro "$work/unpacked"
    ip link set lo up 2>/dev/null || say "no ip: the agent cannot be pinged over loopback"
    if touch "$tree/x" 2>/dev/null; then die "the tree can be written to"; fi
    [ "$(find /sys/class/net -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -ge 0 ]
fi
[ ! -e "$tree/.git" ] || die "the tarball holds .git"
cd "$tree"
version=$(sed -n 1p VERSION)

say "building $version offline"
start=$SECONDS
packages=(-p vdsmd -p supervdsmd -p vdsm-client -p vdsm-tool -p vdsm-dhcp)
cargo build --quiet --offline --locked --bins "${packages[@]}" || die "the tree does not build"
say "built in $((SECONDS - start)) s"

if [ "$DISTCHECK_TESTS" != none ]; then
    start=$SECONDS
    default=()
    for manifest in model/*/Cargo.toml edge/persist/Cargo.toml edge/privileged/Cargo.toml bin/vdsm-tool/Cargo.toml; do
        default+=(-p "$(sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1)")
    done
    read -r -a chosen <<<"$DISTCHECK_TESTS"
    [ ${#chosen[@]} -gt 0 ] || chosen=("${default[@]}" --lib --bins)
    cargo test --quiet --offline --locked "${chosen[@]}" -- --skip session_ --skip netns_ --skip lab_ \
        >"$work/tests.log" 2>&1 || {
        tail -n 60 "$work/tests.log"
        die "tests"
    }
    passed=$(awk '/^test result:/ { passed += $4 } END { print passed + 0 }' "$work/tests.log")
    [ "$passed" -gt 0 ] || die "no test was run"
    say "$passed tests passed in $((SECONDS - start)) s"
fi

stage=$work/stage
installer=(PREFIX=/usr PROFILE=dev DESTDIR="$stage")
make --no-print-directory install "${installer[@]}" CARGOFLAGS=--offline >/dev/null
say "installed $(find "$stage" -type f | wc -l) files"
for program in sbin/vdsmd sbin/supervdsmd bin/vdsm-client bin/vdsm-tool; do
    told=$("$stage/usr/$program" --version)
    [ "$told" = "${program#*/} $version" ] || die "$program tells \"$told\", the tarball is $version"
done

# The staged agent on libvirt's test driver, which lives in the client library.
mkdir -p "$work/run" "$work/state" "$work/data-center"
printf '[vars]\nssl = false\nlibvirt_uri = test:///default\naccelerator = tcg\nstate_dir = %s\nrun_dir = %s\nlog_target = stderr\n[addresses]\nmanagement_ip = 127.0.0.1\nmanagement_port = 0\n[irs]\nrepository = %s\n[supervdsm]\nenable = false\n' \
    "$work/state" "$work/run" "$work/data-center" >"$work/vdsm.conf"
"$stage/usr/sbin/vdsmd" --config "$work/vdsm.conf" 2>"$work/vdsmd.log" &
agent=$!
answer=''
for _ in $(seq 300); do
    port=$(sed -n 's/.*listening address=127.0.0.1:\([0-9]*\).*/\1/p' "$work/vdsmd.log" | head -n 1)
    if [ -n "$port" ] &&
        answer=$("$stage/usr/bin/vdsm-client" -a 127.0.0.1 -p "$port" --insecure Host ping2 2>&1); then
        break
    fi
    kill -0 $agent 2>/dev/null || break
    sleep 0.2
done
kill $agent 2>/dev/null || true
wait $agent || true
[ "$answer" = true ] || {
    tail -n 20 "$work/vdsmd.log"
    die "the staged agent does not answer: $answer"
}
say "the staged agent answers"

make --no-print-directory uninstall "${installer[@]}" >/dev/null
left=$(find "$stage" -mindepth 1)
[ -z "$left" ] || die "left after uninstall: $left"
say "uninstalled, nothing is left"

# Controls: what this check is for must be found by it.
cp -r "$tree/packaging" "$work/damaged-packaging"
mkdir "$work/damaged"
cp -r "$tree"/{Cargo.toml,CHANGELOG.md} "$work/damaged/"
mv "$work/damaged-packaging" "$work/damaged/packaging"
chmod -R u+w "$work/damaged"
rm "$work/damaged/packaging/vdsm.polkit.rules"
if told=$("$work/damaged/packaging/install.sh" install "${installer[@]}" 2>&1); then
    die "control: a tree without a file of the manifest was installed"
fi
[[ $told == *vdsm.polkit.rules* ]] || die "control: the message does not name the file: $told"
cp "$tree/packaging/vdsm.polkit.rules" "$work/damaged/packaging/"
"$work/damaged/packaging/install.sh" install "${installer[@]}"
sed -i '/polkit/d' "$work/damaged/packaging/manifest"
"$work/damaged/packaging/install.sh" uninstall "${installer[@]}"
left=$(find "$stage" -type f)
[[ $left == *50-vdsm.rules ]] || die "control: a file that the manifest does not name was not found: $left"
say "controls: a file that lacks, and one that the manifest does not name, are found"
say "passed"
