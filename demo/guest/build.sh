#!/usr/bin/env bash
# Builds the guest of the demo: a disk image with a boot loader, the distribution's own kernel and
# busybox, made without root, mounts or downloads other than the distribution's packages.
#
#   build.sh            builds unless an image of the same inputs is there; prints its path
#
# The image lies in target/guest/<hash of the inputs>/disk.raw; packages are unpacked (not installed)
# beneath target/guest/packages. What the guest does is in the files beside this one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${GUEST_CACHE:-${CARGO_TARGET_DIR:-$top/target}/guest}
packages=$cache/packages

disk_mib=96          # the whole image; the file system takes all but the first MiB
first_sector=2048    # of the partition: 1 MiB, the gap before it holds the boot loader

say() { printf 'guest: %s\n' "$*" >&2; }
die() { printf 'guest: %s\n' "$*" >&2; exit 1; }

# ---------------------------------------------------------------------------------------------
# Packages: kernel and boot loader are unpacked from the distribution's packages into the cache.
# Installing them would write to /boot and start hooks of the host; nothing here needs that.

fetch_deb() { # name...: downloads and unpacks
    local name
    (
        cd "$packages/incoming"
        for name in "$@"; do
            apt-get download -qq "$name" 2>"$packages/apt.log" && continue
            say "the package lists are old: updating them"
            sudo_do apt-get update -qq 2>>"$packages/apt.log" || true
            apt-get download -qq "$name" 2>>"$packages/apt.log" ||
                { cat "$packages/apt.log" >&2; die "cannot download $name"; }
        done
    )
    for name in "$packages"/incoming/*.deb; do
        dpkg-deb -x "$name" "$packages/root"
    done
    rm -f "$packages"/incoming/*.deb
}

fetch_rpm() { # name...: downloads and unpacks. Not tried: no such machine was at hand.
    local name
    (cd "$packages/incoming" && dnf -q download "$@" >&2) || die "cannot download $*"
    for name in "$packages"/incoming/*.rpm; do
        (cd "$packages/root" && rpm2cpio "$name" | cpio -idm --quiet --no-absolute-filenames)
    done
    rm -f "$packages"/incoming/*.rpm
}

sudo_do() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The newest package behind the metapackage of the cloud kernel.
debian_kernel() {
    apt-cache depends --no-recommends --no-suggests "$1" 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
}

fetch_packages() {
    [ -e "$packages/complete" ] && return
    rm -rf "$packages"
    mkdir -p "$packages/incoming" "$packages/root"
    say "fetching kernel and boot loader (unpacked, not installed)"
    if command -v apt-get >/dev/null; then
        local flavour kernel
        case $(dpkg --print-architecture) in
            amd64) flavour=linux-image-cloud-amd64 ;;
            *) die "only amd64 guests can be built as yet" ;;
        esac
        kernel=$(debian_kernel "$flavour")
        if [ -z "$kernel" ]; then
            sudo_do apt-get update -qq || true
            kernel=$(debian_kernel "$flavour")
        fi
        [ -n "$kernel" ] || die "the distribution offers no $flavour"
        fetch_deb "$kernel" grub-pc-bin grub-common
    elif command -v dnf >/dev/null; then
        fetch_rpm kernel-core grub2-pc-modules grub2-tools-minimal
    else
        die "neither apt-get nor dnf is here"
    fi
    touch "$packages/complete"
}

find_one() { # what, find arguments...: exactly the newest match
    local what=$1 found
    shift
    found=$(find "$packages/root" "$@" -print 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] || die "no $what in the fetched packages"
    printf '%s\n' "$found"
}

locate_parts() {
    kernel=$(find_one kernel -type f \( -path '*/boot/vmlinuz-*' -o -path '*/lib/modules/*/vmlinuz' \))
    modules=$(dirname "$(find_one "kernel modules" -name modules.builtin)")
    grub=$(find_one "GRUB for BIOS" -type d -path '*/grub/i386-pc')
    mkimage=$(find_one grub-mkimage -type f \( -name grub-mkimage -o -name grub2-mkimage \))
    busybox=$(command -v busybox) || die "no busybox"
    case $(file_kind "$busybox") in
        dynamic) die "$busybox is not static: install busybox-static" ;;
    esac
}

file_kind() { # static or dynamic
    if LC_ALL=C grep -aqE '/lib(64)?/ld-(linux|musl)' "$1"; then echo dynamic; else echo static; fi
}

# ---------------------------------------------------------------------------------------------
# Parts of the image

# What the guest needs, apart from what these need themselves; built-in ones are left out.
early_modules='ext4 virtio_pci virtio_blk'
late_modules='button evdev virtio_balloon'

built_in() { # name: files spell it with - or _
    grep -qE "/${1//_/[-_]}\.ko$" "$modules/modules.builtin"
}

unpacked() { # module file: its content
    case $1 in
        *.ko) cat "$1" ;;
        *.ko.xz) busybox xzcat "$1" ;;
        *.ko.gz) busybox zcat "$1" ;;
        *.ko.zst) zstd -dcq "$1" ;;
        *) die "unknown compression: $1" ;;
    esac
}

depends_of() { # unpacked module: the names it depends on, from its own table
    tr '\0' '\n' <"$1" | LC_ALL=C grep -a '^depends=' | cut -d= -f2 | tr ',' ' '
}

add_module() { # destination, name: copies it after what it depends on, in the order to load
    local to=$1 name=${2//-/_} file dependency
    [ -e "$to/$name.ko" ] && return
    built_in "$name" && return
    file=$(find "$modules" -name "$name.ko*" -o -name "${name//_/-}.ko*" | head -n 1)
    [ -n "$file" ] || die "the kernel has no $name"
    unpacked "$file" >"$to/$name.ko"
    for dependency in $(depends_of "$to/$name.ko"); do
        add_module "$to" "$dependency"
    done
    echo "$name.ko" >>"$to/order"
}

add_modules() { # destination, names...
    local to=$1 name
    shift
    mkdir -p "$to"
    touch "$to/order"
    for name in "$@"; do
        add_module "$to" "$name"
    done
}

make_initramfs() { # output
    local root=$work/initramfs
    mkdir -p "$root"/{bin,dev,proc,disk}
    cp "$busybox" "$root/bin/busybox"
    cp "$here/initramfs-init" "$root/init"
    chmod 0755 "$root/init" "$root/bin/busybox"
    # shellcheck disable=SC2086 # a list of names
    add_modules "$root/modules" $early_modules
    (cd "$root" && find . -print0 | LC_ALL=C sort -z |
        cpio --quiet -0 -o -H newc --reproducible --owner=0:0) >"$1"
}

make_system() { # output folder: what becomes the root file system
    local root=$1
    mkdir -p "$root"/{bin,sbin,boot,dev,proc,sys,tmp,var,etc/acpi/PWRF}
    cp "$busybox" "$root/bin/busybox"
    ln -s /bin/busybox "$root/sbin/init"
    ln -s busybox "$root/bin/sh"
    cp "$here/inittab" "$root/etc/inittab"
    cp "$here/powerbutton" "$root/etc/acpi/PWRF/00000080"
    cp "$here/setup" "$here/writer" "$here/goodbye" "$root/sbin/"
    chmod 0755 "$root"/bin/busybox "$root"/sbin/{setup,writer,goodbye} "$root/etc/acpi/PWRF/00000080"
    # shellcheck disable=SC2086 # a list of names
    add_modules "$root/modules" $late_modules
    cp "$kernel" "$root/boot/vmlinuz"
    make_initramfs "$root/boot/initramfs"
}

make_boot_loader() { # output: the image that stands between the boot sector and the partition
    cat >"$work/grub.cfg" <<'CFG'
set root=(hd0,msdos1)
linux16 /boot/vmlinuz root=/dev/vda1 console=tty0 console=ttyS0 quiet panic=1 mitigations=off nokaslr edd=off random.trust_bootloader=on tsc=reliable
initrd16 /boot/initramfs
boot
CFG
    "$mkimage" -d "$grub" -O i386-pc -p '(hd0,msdos1)/boot' -c "$work/grub.cfg" -o "$1" \
        biosdisk part_msdos ext2 linux16 boot
    [ "$(stat -c %s "$1")" -le $(((first_sector - 1) * 512)) ] || die "the boot loader is too large"
}

little_endian() { # number, as four bytes for printf
    printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $((($1 >> 8) & 255)) \
        $((($1 >> 16) & 255)) $((($1 >> 24) & 255))
}

put() { # file, offset, length: copies standard input into the image
    dd of="$1" bs=1 seek="$2" count="$3" iflag=fullblock conv=notrunc status=none
}

# Boot sector: GRUB's code (440 bytes: it loads what follows from sector 1), one bootable Linux
# partition, and the signature. The addresses in cylinders and heads are the "too large" marker.
make_boot_sector() { # image
    local sectors=$((disk_mib * 2048 - first_sector))
    put "$1" 0 440 <"$grub/boot.img"
    printf "%b%b%b" '\x80\xfe\xff\xff\x83\xfe\xff\xff' "$(little_endian $first_sector)" \
        "$(little_endian $sectors)" | put "$1" 446 16
    printf '\x55\xaa' | put "$1" 510 2
}

make_image() { # output
    local image=$1
    make_system "$work/system"
    truncate -s "${disk_mib}M" "$image"
    # Only features that every boot loader reads.
    mke2fs -q -F -t ext4 -b 4096 -O none,has_journal,filetype,extent,sparse_super,large_file,dir_index \
        -J size=4 -E "offset=$((first_sector * 512)),root_owner=0:0,lazy_itable_init=0" \
        -d "$work/system" -L demo-guest "$image" "$(((disk_mib - 1) * 1024))k"
    make_boot_loader "$work/core.img"
    make_boot_sector "$image"
    put_blocks "$image" "$work/core.img"
}

put_blocks() { # image, file: from sector 1 on
    dd if="$2" of="$1" bs=512 seek=1 conv=notrunc status=none
}

# ---------------------------------------------------------------------------------------------

inputs_hash() {
    {
        cat "$here"/{build.sh,initramfs-init,inittab,setup,writer,goodbye,powerbutton}
        sha256sum <"$kernel"
        sha256sum <"$busybox"
        sha256sum <"$grub/boot.img"
    } | sha256sum | cut -c1-16
}

export PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
fetch_packages
locate_parts
folder=$cache/$(inputs_hash)
if [ ! -e "$folder/disk.raw" ]; then
    say "building the image from $(basename "$kernel") and $(basename "$busybox")"
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    make_image "$work/disk.raw"
    mkdir -p "$folder"
    mv "$work/disk.raw" "$folder/disk.raw"
    say "built: $(du -h "$folder/disk.raw" | cut -f1) of $disk_mib MiB used"
fi
printf '%s\n' "$folder/disk.raw"
