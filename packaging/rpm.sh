#!/usr/bin/env bash
# Makes the package for the EL family and Fedora from a build: packaging/rpm.sh [PROFILE=release|dev]. Needs rpmbuild, which
# Debian has in its package rpm. Prints the path of the package, in target/package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=packaging/stage.sh
. packaging/stage.sh
arguments rpm "$@"
command -v rpmbuild >/dev/null || {
    echo "rpm: rpmbuild is not installed (Debian has it in its package rpm, the EL family in rpm-build)" >&2
    exit 1
}
out=$(realpath -m "${CARGO_TARGET_DIR:-target}/package")
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
put_into "$stage" redhat

# Files; folders of ours; configuration, which an upgrade does not overwrite.
files() {
    (cd "$stage" && find . -type f | sed 's|^\.||' | sort) | while read -r path; do
        case $path in
            /etc/*) printf '%%config(noreplace) "%s"\n' "$path" ;;
            */share/man/* | */share/doc/*) printf '%%doc "%s"\n' "$path" ;;
            *) printf '"%s"\n' "$path" ;;
        esac
    done
    (cd "$stage" && find . -type d -name '*vdsm*' | sed 's|^\.||' | sort) | sed 's|.*|%dir "&"|'
    printf '%%dir "/usr/libexec/vdsm/hooks"\n'
}

# A dash parts version and release for rpm; "+" and "." may stand.
version=$(packaging/version.sh package)
files >"$work/files"
sed -e "s|@version@|$version|" -e "s|@stage@|$stage|" -e "/@files@/{r $work/files" -e 'd}' \
    packaging/redhat/vdsm-rs.spec.in >"$work/vdsm-rs.spec"
payload=w6.xzdio
[ "$PROFILE" = release ] || payload=w1.gzdio
rm -f "$out"/vdsm-rs-*.rpm
rpmbuild --quiet -bb --define "_topdir $work/rpm" --define "_rpmdir $out" --define "_binary_payload $payload" \
    --define '_build_name_fmt %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' "$work/vdsm-rs.spec" >&2
ls "$out"/vdsm-rs-*.rpm
