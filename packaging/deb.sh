#!/usr/bin/env bash
# Makes the Debian package from a build: packaging/deb.sh [PROFILE=release|dev]. Needs dpkg-deb; dpkg-shlibdeps if it is there.
# Prints the path of the package, in target/package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=packaging/stage.sh
. packaging/stage.sh
arguments deb "$@"
out=${CARGO_TARGET_DIR:-target}/package
mkdir -p "$out"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
put_into "$root" debian

depends() {
    # dpkg-shlibdeps wants the control file of a source package.
    mkdir -p "$stage/debian"
    printf 'Source: vdsm-rs\n\nPackage: vdsm-rs\nArchitecture: any\n' >"$stage/debian/control"
    if command -v dpkg-shlibdeps >/dev/null; then
        (cd "$stage" && dpkg-shlibdeps -O root/usr/sbin/* root/usr/bin/* root/usr/libexec/vdsm/vdsm-* 2>/dev/null) |
            sed -n 's/^shlibs:Depends=//p'
    else
        echo 'libc6, libgcc-s1, libvirt0'
    fi
}

needed=$(depends)
[ -n "$needed" ] || {
    echo 'deb: it is not known which libraries the programs need' >&2
    exit 1
}
version=$(packaging/version.sh package)
architecture=$(dpkg --print-architecture)
install -d -m 0755 "$root/DEBIAN"
sed -e "s|@version@|$version|" -e "s|@architecture@|$architecture|" -e "s#@depends@#$needed#" \
    -e "s|@size@|$(du -sk --exclude=DEBIAN "$root" | cut -f1)|" packaging/debian/control.in >"$root/DEBIAN/control"
for script in postinst prerm postrm; do install -m 0755 "packaging/debian/$script" "$root/DEBIAN/$script"; done
install -m 0644 packaging/debian/triggers "$root/DEBIAN/triggers"
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 0644 "$root"/DEBIAN/{control,conffiles,md5sums}

package=$out/vdsm-rs_${version}_$architecture.deb
rm -f "$out"/vdsm-rs_*.deb
# Of a build for tests only the time counts.
squeeze=(-Zxz)
[ "$PROFILE" = release ] || squeeze=(-Zgzip -z1)
dpkg-deb --root-owner-group "${squeeze[@]}" --build "$root" "$package" >/dev/null
echo "$package"
