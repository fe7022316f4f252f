#!/usr/bin/env bash
# Makes the rpm from a build and proves it as far as a machine of another family can: packaging/rpm-check.sh [PROFILE=release|dev]
#
# It is installed into an empty root, holds what the manifest lists and nothing else, is verified, and removed: nothing may be
# left but configuration that was changed. Its scripts are parsed, not run (they belong to the EL family). Controls: a file
# that was changed and one that is missing must be found. Without rpm's programs it says `skipped: why`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'rpm: %s\n' "$*"; }
die() {
    printf 'rpm: FAILED: %s\n' "$*" >&2
    exit 1
}

for tool in rpmbuild rpm; do
    command -v "$tool" >/dev/null || {
        echo "skipped: the rpm is neither built nor installed: $tool is not installed (Debian: package rpm)"
        exit 0
    }
done
[ "$(id -u)" -eq 0 ] || {
    echo 'skipped: the rpm is not installed: rpm --root needs root'
    exit 0
}

package=$(packaging/rpm.sh "$@")
say "$package: $(du -h "$package" | cut -f1)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$root"
# Debian's rpm warns of being used, and wants to be told that it is meant.
meant=()
if rpm --help | grep -q force-debian; then meant=(--force-debian); fi
to_root() { rpm --root "$root" --dbpath /rpmdb "$@"; }
to_root --initdb
files() { find "$root" -type f -not -path "$root/rpmdb/*" | sed "s|^$root||" | sort; }

to_root -i "${meant[@]}" --nodeps --noscripts "$package"
packaging/install.sh install DESTDIR="$work/stage" FLAVOUR=redhat "$@"
expected=$(find "$work/stage" -type f | sed "s|^$work/stage||" | sort)
diff <(echo "$expected") <(files) || die "it does not hold what the manifest lists (< manifest, > package)"
say "installed $(files | wc -l) files, those of the manifest"

# Libraries and accounts are the host's: they are not in this root.
verified() { to_root -V --nodeps --noscripts --nouser --nogroup vdsm-rs; }
told=$(verified) || die "freshly installed, and not as packaged: $told"
[ "$(to_root -q --qf '%{PROVIDES}' vdsm-rs)" = vdsm ] || to_root -q --provides vdsm-rs | grep -q '^vdsm = ' ||
    die "it does not stand in for vdsm"
for what in scripts triggers; do
    to_root -q --$what vdsm-rs | sed -E 's/^(pre|post|trigger)[a-z]* (scriptlet|program)?.*$/:/' | bash -n ||
        die "$what are no shell"
done
say "verified, and its scripts are shell"

echo '# mine' >>"$root/etc/vdsm/vdsm.conf"
echo x >>"$root/usr/lib/systemd/system/vdsmd.service"
rm "$root/usr/sbin/supervdsmd"
told=$(verified) && die "control: damage was not found"
for name in vdsm.conf vdsmd.service supervdsmd; do
    [[ $told == *$name* ]] || die "control: $name is damaged and not named: $told"
done
say "controls: a file that was changed and one that lacks are found"

to_root -e "${meant[@]}" --nodeps --noscripts vdsm-rs 2>"$work/told" || die "it cannot be removed: $(cat "$work/told")"
left=$(files)
[ "$left" = /etc/vdsm/vdsm.conf.rpmsave ] || die "left after removal: $left"
rm "$root/etc/vdsm/vdsm.conf.rpmsave"
left=$(find "$root" -depth -type d -name '*vdsm*' -not -path "$root/etc/vdsm")
[ -z "$left" ] || die "folders are left after removal: $left"
say "removed, nothing is left but changed configuration"
say "passed"
