#!/usr/bin/env bash
# Makes the release's source tarballs from HEAD: packaging/dist.sh. Prints their paths, in target/dist.
#
#   vdsm-rs-VERSION.tar.xz          what git tracks, and the file VERSION (version; what packages are stamped with)
#   vdsm-rs-VERSION-vendor.tar.xz   every crate of Cargo.lock, unpacked over it: then it builds without a network
#
# Both are the same for the same commit: names sorted, owners root, times those of the commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(packaging/version.sh)
name=vdsm-rs-$version
out=$(realpath -m "${CARGO_TARGET_DIR:-target}/dist")
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

when=$(git log -1 --format=%ct)
pack() { # tarball, names...: packs what lies in $work
    local tarball=$1
    shift
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$when" -cf - "$@" | xz -T0 -2 >"$tarball"
    echo "$tarball"
}

git diff --quiet HEAD -- || echo "dist: the tree has changes that are not committed; HEAD is packed" >&2
git archive --prefix="$name/" HEAD | tar -C "$work" -xf -
stamp=$(packaging/version.sh package)
printf '%s\n%s\n' "$version" "${stamp%.dirty}" >"$work/$name/VERSION"
pack "$out/$name.tar.xz" "$name"

# The build takes nothing from Windows: those crates are needed as names only, so that Cargo.lock holds.
hollow() { # folder of a crate
    local sum
    sum=$(sed -n 's/.*"package":"\([0-9a-f]*\)".*/\1/p' "$1/.cargo-checksum.json")
    find "$1" -mindepth 1 -maxdepth 1 ! -name Cargo.toml -exec rm -rf {} +
    mkdir -p "$1/src"
    : >"$1/src/lib.rs"
    : >"$1/build.rs"
    printf '{"files":{},"package":"%s"}' "$sum" >"$1/.cargo-checksum.json"
}
mv "$work/$name" "$work/tree"
mkdir -p "$work/$name/.cargo"
(cd "$work/tree" && cargo vendor --quiet --locked --versioned-dirs "$work/$name/vendor" >/dev/null)
for crate in "$work/$name"/vendor/win{api,dows}*; do
    [ ! -d "$crate" ] || hollow "$crate"
done
printf '[source.crates-io]\nreplace-with = "vendor"\n\n[source.vendor]\ndirectory = "vendor"\n' >"$work/$name/.cargo/config.toml"
pack "$out/$name-vendor.tar.xz" "$name"
