# shellcheck shell=bash
# The recipe of the layer `installed`: a pristine host on which a user has installed the package. Runs in the folder of
# the package; what fails ends it. No shebang: `make lab-check` hands it to bash.

# Emulated hosts are slow, and may be busy beside that: only what hangs is late.
mkdir -p /etc/systemd/system/vdsmd.service.d
printf '[Service]\nTimeoutStartSec=600\nWatchdogSec=600\n' >/etc/systemd/system/vdsmd.service.d/lab.conf

dpkg -i ./*.deb
systemctl daemon-reload

# The first question to libvirt makes it probe QEMU, slowly; its answer is kept on disk for all tests.
virsh -c qemu:///system capabilities >/dev/null
virsh -c qemu:///system domcapabilities >/dev/null
systemctl stop libvirtd.service

systemctl is-active --quiet vdsmd.socket
