#!/usr/bin/env bash
# Builds the image of a lab host, unless one of the same inputs is in the cache; prints its folder.
#
#   build.sh            root.img (sparse ext4), vmlinuz, initrd, key (of root's ssh), known_hosts
#   build.sh --hash     only says what the inputs amount to
#
# Needs root (or sudo): the distribution's bootstrap tool unpacks packages with their owners. No loop device, no mount
# on the machine, nothing of the machine is changed. The packages come from the machine's own sources of
# the distribution, through its own proxy if it has one.
#
# The cache is $LAB_DIR, else ${XDG_CACHE_HOME:-~/.cache}/vdsm-rs/lab: images/<hash>/, debs/ (what was downloaded).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LAB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/vdsm-rs/lab}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
disk_size=8G         # of the root: sparse, so only what is used counts

say() { printf 'lab image: %s\n' "$*" >&2; }
die() { printf 'lab image: %s\n' "$*" >&2; exit 1; }

started=$SECONDS
step=start
lap() { # what begins now; on failure its name is said
    step=$*
    say "$(printf '%3d s  %s' $((SECONDS - started)) "$*")"
}

listed() { # file: its lines without comments
    sed -e 's/#.*//' -e '/^ *$/d' "$here/$1"
}

# ---------------------------------------------------------------------------------------------
# Inputs

read_release() {
    # shellcheck disable=SC1091 # the system's
    . /etc/os-release
    distribution=${ID:-} release=${VERSION_CODENAME:-}
    case $distribution in
        debian) origin=Debian kernel_package=linux-image-$(dpkg --print-architecture) ;;
        ubuntu) origin=Ubuntu kernel_package=linux-image-generic ;;
        *) die "only Debian (and, not tried, Ubuntu) can be the system of a lab host as yet; this is ${ID:-unknown}" ;;
    esac
    [ -n "$release" ] || die "/etc/os-release names no release"
}

# The distribution's own sources of this machine, a one-line entry each. Third parties' are left out.
sources() {
    apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
        awk -F '|' -v origin="$origin" '
            $1 == origin { key = $2 " " $3; if (!(key in all)) order[++n] = key; if (!seen[$0]++) all[key] = all[key] " " $4 }
            END { for (i = 1; i <= n; i++) print "deb " order[i] all[order[i]] }'
}

# A proxy that the machine's apt was told of, for the bootstrap tool; it does not stay in the image.
proxies() {
    apt-config dump | sed -n -E 's/^(Acquire::https?::([^ ]*::)?Proxy "[^"]*";)$/--aptopt=\1/p'
}

newest_kernel() {
    apt-cache depends --no-recommends --no-suggests "$kernel_package" 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
}

find_kernel() {
    kernel=$(newest_kernel)
    if [ -z "$kernel" ] || [ -z "$(sources)" ]; then
        say "the package lists are missing or old: updating them"
        apt-get update -qq >&2 || true
        kernel=$(newest_kernel)
    fi
    [ -n "$kernel" ] || die "the package sources offer no $kernel_package"
    [ -n "$(sources)" ] || die "apt knows no package source of $origin (apt-get update?)"
}

inputs_hash() {
    {
        cat "$here"/{build.sh,configure.sh,init,packages.txt,later.txt,modules-left-out.txt}
        printf '%s %s %s\n' "$distribution" "$release" "$kernel"
    } | sha256sum | cut -c1-16
}

# ---------------------------------------------------------------------------------------------
# Parts

have_room() { # folder, MiB
    local free
    free=$(df --output=avail -m "$1" 2>/dev/null | tail -n 1)
    [ "${free:-0}" -gt "$2" ]
}

# dpkg syncs a lot: in memory, where there is room, that costs nothing.
make_work_folder() {
    have_room "$cache" 2500 || die "less than 2.5 GB are free in $cache (LAB_DIR=... takes another folder)"
    local memory
    memory=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
    if [ "${memory:-0}" -gt 5000 ] && have_room /dev/shm 2500; then
        work=$(mktemp -d /dev/shm/vdsm-lab.XXXXXX)
    else
        work=$(mktemp -d "$cache/work.XXXXXX")
    fi
    chmod 0755 "$work"
}

clean_up() {
    local status=$?
    trap - EXIT
    if [ -n "${bootstrap:-}" ]; then
        kill "$bootstrap" 2>/dev/null || true
        wait "$bootstrap" 2>/dev/null || true
    fi
    [ -z "${work:-}" ] || rm -rf --one-file-system "$work"
    [ -z "${result:-}" ] || rm -rf "$result"
    [ $status -eq 0 ] || say "FAILED while: $step"
    exit $status
}

keep_debs() { # hook of the bootstrap tool, as text for its shell
    printf 'cp -un "$1"/var/cache/apt/archives/*.deb %q/ 2>/dev/null || true' "$cache/debs"
}

give_debs() {
    printf 'mkdir -p "$1/var/cache/apt/archives"; cp -n %q/*.deb "$1/var/cache/apt/archives/" 2>/dev/null || true' "$cache/debs"
}

download_later() {
    printf 'mkdir -p "$1/var/lib/lab/debs/partial"; '
    printf 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get install -qq -y --no-install-recommends --download-only '
    printf -- '-o Dir::Cache::Archives="$1/var/lib/lab/debs" %s >/dev/null' "$(listed later.txt | tr '\n' ' ')"
}

bootstrap() {
    lap "unpacking $(listed packages.txt | wc -l) packages and what they need ($distribution $release)"
    local options=(--quiet --mode=root --variant=apt "--include=$(listed packages.txt | paste -sd,)"
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"'
        --skip=download/empty --skip=essential/unlink --setup-hook="$(give_debs)"
        --customize-hook="$(download_later)" --customize-hook="$(keep_debs)")
    local kind
    for kind in doc man locale info icons lintian; do
        options+=("--dpkgopt=path-exclude=/usr/share/$kind/*")
    done
    options+=(--dpkgopt=force-unsafe-io)
    local proxy
    while read -r proxy; do options+=("$proxy"); done < <(proxies)
    sources >"$work/sources.list"
    # In the background, so that Ctrl-C is heard at once; it gets its own signal.
    mmdebstrap "${options[@]}" "$release" "$root" "$work/sources.list" </dev/null >"$work/bootstrap.log" 2>&1 &
    bootstrap=$!
    local status=0
    wait $bootstrap || status=$?
    bootstrap=
    if [ $status -ne 0 ]; then
        tail -n 40 "$work/bootstrap.log" >&2
        die "mmdebstrap failed (exit code $status)"
    fi
}

unpack_kernel() {
    lap "unpacking $kernel"
    version=${kernel#linux-image-}
    local debs=("$cache/debs/${kernel}"_*.deb)
    if [ ! -e "${debs[0]}" ]; then
        (cd "$work" && apt-get download -qq "$kernel" >&2) || die "cannot download $kernel"
        mv "$work/${kernel}"_*.deb "$cache/debs/"
        debs=("$cache/debs/${kernel}"_*.deb)
    fi
    dpkg-deb --fsys-tarfile "${debs[-1]}" | tar -x -C "$work" --one-top-level=kernel
    local modules folder
    modules=$(find "$work/kernel" -type d -path "*/modules/$version")
    [ -d "$modules/kernel" ] || die "no modules in ${debs[-1]}"
    while read -r folder; do rm -rf "${modules:?}/kernel/${folder:?}"; done < <(listed modules-left-out.txt)
    mkdir -p "$root/lib/modules"
    mv "$modules" "$root/lib/modules/"
    chroot "$root" depmod "$version"
    cp "$work/kernel/boot/vmlinuz-$version" "$result/vmlinuz"
}

make_initrd() {
    lap "making the initrd"
    local folder=$work/initrd module name
    mkdir -p "$folder"/{bin,dev,proc,sys,root,modules}
    cp "$root/bin/busybox" "$folder/bin/"
    for name in sh insmod mount switch_root ip sleep cat; do ln -s busybox "$folder/bin/$name"; done
    for name in virtio_pci virtio_blk virtio_net ext4; do
        chroot "$root" modprobe --set-version "$version" --show-depends "$name" || die "the kernel has no $name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/order"
    while read -r module; do
        name=${module##*/}
        case $name in
            *.ko) cp "$root/$module" "$folder/modules/$name" ;;
            *.ko.xz) name=${name%.xz}; "$root/bin/busybox" xzcat "$root/$module" >"$folder/modules/$name" ;;
            *) die "modules compressed in an unknown way: $module" ;;
        esac
        echo "$name" >>"$folder/modules/order"
    done <"$work/order"
    install -m 0755 "$here/init" "$folder/init"
    # Not compressed: to unpack it is slower than to read it.
    (cd "$folder" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc --owner=0:0) >"$result/initrd"
}

make_keys() {
    ssh-keygen -q -t ed25519 -N '' -C lab -f "$result/key"
    rm -f "$root"/etc/ssh/ssh_host_*
    ssh-keygen -q -t ed25519 -N '' -C lab -f "$root/etc/ssh/ssh_host_ed25519_key"
    printf 'lab-host %s\n' "$(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$result/known_hosts"
}

make_root() {
    lap "writing the root's file system ($(du -sm "$root" | cut -f1) MB)"
    truncate -s "$disk_size" "$result/root.img"
    mke2fs -q -F -t ext4 -m 0 -J size=64 -E lazy_itable_init=1,nodiscard -L lab-root -d "$root" "$result/root.img"
}

build() {
    [ "$(id -u)" -eq 0 ] || die "building needs root: sudo make lab"
    local tool
    for tool in mmdebstrap mke2fs cpio ssh-keygen dpkg-deb; do
        command -v "$tool" >/dev/null || die "$tool is missing (scripts/deps.sh --lab installs it)"
    done
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_work_folder
    root=$work/root
    result=$(mktemp -d "$images/new.XXXXXX")
    mkdir -p "$root"
    bootstrap
    unpack_kernel
    lap "configuring"
    make_keys
    bash "$here/configure.sh" "$root" "$result/key.pub"
    make_initrd
    make_root
    echo "$version" >"$result/kernel-version"
    mv "$result" "$images/$hash"
    result=
    lap "done: $images/$hash, $(du -sm "$images/$hash" | cut -f1) MB on disk"
}

# ---------------------------------------------------------------------------------------------

read_release
find_kernel
hash=$(inputs_hash)
if [ "${1:-}" = --hash ]; then echo "$hash"; exit 0; fi
images=$cache/images
mkdir -p "$images" "$cache/debs"
exec 9>"$cache/lock"
flock -n 9 || { say "another build is under way: waiting for it"; flock 9; }
rm -rf "$images"/new.* "$cache"/work.*
if [ ! -e "$images/$hash/root.img" ]; then
    (build) 9>&-
fi
ln -sfn "images/$hash" "$cache/current"
printf '%s\n' "$images/$hash"
