#!/usr/bin/env bash
# Installs what building, testing and the demo need and what is missing; says nothing much if all is there.
#
#   scripts/deps.sh           installs what is missing (as root, or by sudo)
#   scripts/deps.sh --list    only names what is missing; exit code 1 if anything is
#   scripts/deps.sh --check   also what some tests would have, and skip themselves without
#   scripts/deps.sh --lab     also what lab hosts need (Debian only)
#
# No service of the machine is started or changed: only programs and libraries are installed, and the
# packages chosen bring no units that start by themselves (libvirt-daemon-system, which would, is not
# among them), but for openipmi on Debian: its unit loads the kernel's IPMI drivers where there is such hardware. Tried on Debian 12. The dnf half has NOT been tried on a machine of the EL family.
set -euo pipefail

say() { printf 'deps: %s\n' "$*" >&2; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

have() { command -v "$1" >/dev/null 2>&1; }
any_file() { compgen -G "$1" >/dev/null; }

# ---------------------------------------------------------------------------------------------
# What is needed. Each line: how to see that it is there | Debian's package | EL's package

have_libvirt_daemon() { have libvirtd || have virtqemud; }
have_libvirt_qemu() { any_file '/usr/lib*/libvirt/connection-driver/libvirt_driver_qemu.so' ||
    any_file '/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so'; }
have_libvirt_dev() { have pkg-config && pkg-config --exists libvirt; }
have_libc_dev() { [ -e /usr/include/stdio.h ]; }
have_qemu() { have qemu-system-x86_64 || [ -x /usr/libexec/qemu-kvm ]; }
have_static_busybox() { have busybox &&
    ! LC_ALL=C grep -aqE '/lib(64)?/ld-(linux|musl)' "$(command -v busybox)"; }
have_devmapper() { any_file '/lib/*/libdevmapper.so.1.02*' || any_file '/usr/lib*/libdevmapper.so.1.02*' ||
    any_file '/usr/lib/*/libdevmapper.so.1.02*'; }
# The client of another project that a test drives; on other families that test skips itself.
have_py_yaml() { python3 -c 'import yaml' >/dev/null 2>&1 || /usr/bin/python3 -c 'import yaml' >/dev/null 2>&1; }
have_uml() { have linux.uml || [ "$(uname -m)" != x86_64 ] || ! grep -qx 'ID=debian' /etc/os-release; }
have_stomp_py() { ! have apt-get || /usr/bin/python3 -c 'import stomp' >/dev/null 2>&1; }

needs='
have gcc            | gcc                        | gcc
have_libc_dev       | libc6-dev                  | glibc-devel
have make           | make                       | make
have pkg-config     | pkg-config                 | pkgconf-pkg-config
have_libvirt_dev    | libvirt-dev                | libvirt-devel
have_libvirt_daemon | libvirt-daemon             | libvirt-daemon
have_libvirt_qemu   | libvirt-daemon-driver-qemu | libvirt-daemon-driver-qemu
have virsh          | libvirt-clients            | libvirt-client
have_qemu           | qemu-system-x86            | qemu-kvm
have qemu-img       | qemu-utils                 | qemu-img
have_static_busybox | busybox-static             | busybox
have cpio           | cpio                       | cpio
have mke2fs         | e2fsprogs                  | e2fsprogs
have_devmapper      | libdevmapper1.02.1         | device-mapper-libs
have fence_ipmilan  | fence-agents               | fence-agents-ipmilan
have ipmitool       | ipmitool                   | ipmitool
have ipmi_sim       | openipmi                   | OpenIPMI-lanserv
have dnsmasq        | dnsmasq-base               | dnsmasq
have ip             | iproute2                   | iproute
have nsenter        | util-linux                 | util-linux
have awk            | mawk                       | gawk
have_stomp_py       | python3-stomp              | -
have_py_yaml        | python3-yaml               | python3-pyyaml
have flock          | util-linux                 | util-linux-core
'

# For lab hosts.
lab_needs='
have mmdebstrap     | mmdebstrap                 |
have ssh            | openssh-client             | openssh-clients
have ssh-keygen     | openssh-client             | openssh-clients
have dpkg-deb       | dpkg                       | dpkg
have dpkg-shlibdeps | dpkg-dev                   | dpkg-dev
have rpmbuild       | rpm                        | rpm-build
'

# For tests: a whole kernel. Other families have no package of it.
wanted() {
    have_uml || echo user-mode-linux
}

missing() { # column of the package: prints the packages that are missing
    local column=$1 check debian el
    while IFS='|' read -r check debian el; do
        [ -n "${check// /}" ] || continue
        # shellcheck disable=SC2086 # a function or command and its argument
        if ! $check; then
            [ "$column" = debian ] || [ -n "${el// /}" ] || die "only Debian can be the home of lab hosts as yet"
            if [ "$column" = debian ]; then echo "${debian// /}"; else echo "${el// /}"; fi
        fi
    done <<<"$needs"
}

# ---------------------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo "$@"
    else
        return 126
    fi
}

install_debian() { # packages...
    local log status=0
    log=$(mktemp)
    install_debian_to "$log" "$@" || status=$?
    rm -f "$log"
    return $status
}

install_debian_to() { # log, packages...
    local log=$1
    shift
    apt_install() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1
    }
    apt_install "$@" && return
    [ $? -ne 126 ] || return 126
    say "the package lists are missing or old: updating them"
    as_root apt-get update -qq -o DPkg::Lock::Timeout=120 >/dev/null 2>&1 || true
    apt_install "$@" || { tail -n 30 "$log" >&2; return 1; }
}

install_el() { # packages... (not tried)
    as_root dnf install -y -q --setopt=install_weak_deps=False "$@"
}

check_rust() {
    export PATH=$PATH:$HOME/.cargo/bin
    have cargo ||
        die "Rust is missing: install rustup (https://rustup.rs); rust-toolchain.toml names the version"
}

main() {
    local family with=
    case ${1:-} in
        --lab) needs+=$lab_needs && shift ;;
        --check) with=wanted && shift ;;
    esac
    if have apt-get; then family=debian
    elif have dnf; then family=el
    else die "neither apt-get nor dnf is here: install these yourself: $(missing debian | tr '\n' ' ')"
    fi
    local packages=()
    mapfile -t packages < <(missing "$family")
    if [ "${1:-}" = --list ]; then
        [ "${#packages[@]}" -eq 0 ] || { printf '%s\n' "${packages[@]}"; exit 1; }
        exit 0
    fi
    check_rust
    install_needed "$family" "${packages[@]}"
    local package
    for package in $($with); do
        say "installing $package"
        "install_$family" "$package" >/dev/null 2>&1 || say "it cannot be installed: tests that want it skip themselves"
    done
}

install_needed() { # family, packages...
    local family=$1 status=0
    shift
    local packages=("$@")
    [ $# -gt 0 ] || return 0
    say "installing ${#packages[@]} package(s): ${packages[*]}"
    "install_$family" "${packages[@]}" || status=$?
    [ $status -ne 126 ] || die "only root may install packages. As root: apt-get (or dnf) install ${packages[*]}"
    [ $status -eq 0 ] || die "installing failed"
    mapfile -t packages < <(missing "$family")
    [ "${#packages[@]}" -eq 0 ] || die "still missing after the installation: ${packages[*]}"
    say "done"
}

main "$@"
