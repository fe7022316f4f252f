#!/usr/bin/env bash
# Makes a lab host out of an unpacked distribution. build.sh calls it.
#
#   configure.sh ROOT PUBLIC_KEY
#
# What a distribution enables stays, but for what only costs time here, and for the daemons that the agent or a test
# starts when it needs them.
set -euo pipefail

root=$1 key=$2

put() { # path within the root: writes standard input there
    mkdir -p "$(dirname "$root/$1")"
    cat >"$root/$1"
}

units() { # verb, units...
    systemctl --root="$root" "$@" >/dev/null 2>&1 || true
}

# Commands come by ssh with this key; early in the boot, and whatever happens to networks and logins.
install -d -m 0700 "$root/root/.ssh"
install -m 0600 "$key" "$root/root/.ssh/authorized_keys"
put etc/ssh/sshd_config <<'C'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxSessions 100
MaxStartups 100
Subsystem sftp internal-sftp
C
put etc/systemd/system/lab-ssh.service <<'C'
[Unit]
Description=Commands from the lab
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service
Conflicts=shutdown.target

[Service]
ExecStartPre=/bin/mkdir -p /run/sshd
ExecStart=/usr/sbin/sshd -D -e
KillMode=process
OOMScoreAdjust=-1000

[Install]
WantedBy=sysinit.target
C
units enable lab-ssh.service
units mask ssh.service ssh.socket

# Names: interfaces of the lab's networks are data0, data1, ...; mgmt0 belongs to the lab alone.
put etc/udev/rules.d/60-lab.rules <<'C'
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:00:*", NAME="data0"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:01:*", NAME="data1"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:02:*", NAME="data2"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:03:*", NAME="data3"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:04:*", NAME="data4"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:05:*", NAME="data5"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:06:*", NAME="data6"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:1a:07:*", NAME="data7"
C
put etc/NetworkManager/conf.d/lab.conf <<'C'
[main]
dns=none
no-auto-default=*

[keyfile]
unmanaged-devices=interface-name:mgmt0;interface-name:vnet*
C
put etc/hosts <<'C'
127.0.0.1 localhost
::1 localhost
10.77.0.1 lab1
10.77.0.2 lab2
10.77.0.3 lab3
10.77.0.4 lab4
C
: >"$root/etc/resolv.conf"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
rm -f "$root/etc/hostname"

# jq compiles its own library at each start, half a second on an emulated host; gojq speaks the same language.
ln -s gojq "$root/usr/bin/jq"

put etc/systemd/journald.conf.d/lab.conf <<'C'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
C
# Everything is slower under software emulation.
put etc/systemd/system.conf.d/lab.conf <<'C'
[Manager]
DefaultTimeoutStartSec=180s
C

# Daemons under test or started on demand.
units disable libvirtd.service libvirt-guests.service NetworkManager.service NetworkManager-wait-online.service \
    NetworkManager-dispatcher.service iscsid.socket open-iscsi.service multipathd.service multipathd.socket \
    nfs-server.service nfs-kernel-server.service nfs-client.target rpcbind.service rpcbind.socket nfs-blkmap.service \
    openvswitch-switch.service ovs-vswitchd.service ovsdb-server.service lldpad.service lldpad.socket sanlock.service \
    wdmd.service nftables.service ebtables.service rtslib-fb-targetctl.service dnsmasq.service blk-availability.service
units enable libvirtd.socket libvirtd-ro.socket virtlogd.socket virtlockd.socket
# Nothing of this is about the agent.
units mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer man-db.timer systemd-timesyncd.service getty.target getty@tty1.service serial-getty@ttyS0.service \
    systemd-firstboot.service systemd-hwdb-update.service systemd-machine-id-commit.service systemd-pstore.service \
    networking.service keyboard-setup.service console-setup.service modprobe@drm.service ldconfig.service \
    systemd-networkd-wait-online.service systemd-update-utmp-runlevel.service
units set-default multi-user.target

# A path that fails is noticed within seconds.
put etc/multipath.conf <<'C'
defaults {
    user_friendly_names no
    find_multipaths no
    polling_interval 2
}
blacklist {
    devnode "^vd"
}
C

# Readable for every daemon; debs/ holds packages that a test may install.
chmod 0755 "$root/var/lib/lab"
rm -rf "$root"/var/lib/lab/debs/{partial,lock} "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
    "$root"/var/cache/apt/*.bin "$root"/var/log/{apt,dpkg.log,bootstrap.log} "$root"/var/cache/debconf/*-old \
    "$root"/etc/motd "$root"/etc/update-motd.d "$root"/etc/apt/sources.list "$root"/etc/apt/apt.conf.d/99mmdebstrap
find "$root"/usr/share/{doc,man,locale,info,icons} -mindepth 1 -delete 2>/dev/null || true
