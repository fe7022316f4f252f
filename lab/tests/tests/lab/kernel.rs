//! What lab hosts are for: the kernel and the daemons that the agent's work needs are there, and work.

use std::time::Duration;

use hosts::LabError;

const LONG: Duration = Duration::from_mins(12);

#[test]
fn lab_kernel_and_daemons_do_their_work() {
    hosts::test("lab_kernel_and_daemons_do_their_work", |lab| {
        let disks = [lab.disk("lvm-a", 512)?, lab.disk("lvm-b", 512)?];
        let host = lab.host(1).disk(&disks[0]).disk(&disks[1]).start()?;
        for module in [
            "bonding",
            "8021q",
            "bridge",
            "dm_multipath",
            "dm_thin_pool",
            "target_core_mod",
            "iscsi_tcp",
            "iscsi_target_mod",
            "nfsd",
            "openvswitch",
            "sch_hfsc",
            "vhost_net",
            "scsi_debug",
        ] {
            host.check(&format!("modprobe {module}"))?;
        }
        let [a, b] = disks.map(|disk| disk.device());
        host.check(&format!(
            "vgcreate lab {a} {b} && lvcreate -q -y -i2 -L64M -n one lab && mkfs.ext4 -q /dev/lab/one && \
             mount /dev/lab/one /mnt && echo data >/mnt/file && lvextend -q -r -L96M lab/one"
        ))?;
        assert_eq!(host.check("cat /mnt/file")?, "data");
        host.check(
            "ip link add bond0 type bond mode 802.3ad && ip link add link bond0 name bond0.7 type vlan id 7 && \
             ip link add br0 type bridge vlan_filtering 1 && ip link set bond0.7 master br0",
        )?;
        host.check_for(
            "systemctl start NetworkManager && nmcli -t general status",
            LONG,
        )?;
        let version = host.check_for("virsh -c qemu:///system version --daemon", LONG)?;
        assert!(version.contains("Running against daemon"), "{version}");
        // A guest can run under KVM within: its boot sector ends it with a code of its own choice.
        host.check("test -c /dev/kvm")?;
        Ok::<_, LabError>(())
    });
}
