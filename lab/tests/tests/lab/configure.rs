//! What `vdsm-tool configure` does to the programs of a host.

use hosts::LabError;

/// LVM looks at what the host has mounted, and at nothing that guests live on; and everything again afterwards.
#[test]
fn lab_lvm_looks_at_the_hosts_own_devices_only() {
    hosts::test("lab_lvm_looks_at_the_hosts_own_devices_only", |lab| {
        let disks = [lab.disk("own", 256)?, lab.disk("shared", 256)?];
        let host = lab.host(1).layer(&lab.installed()?);
        let host = host.disk(&disks[0]).disk(&disks[1]).start()?;
        let [own, shared] = disks.map(|disk| disk.device());
        host.check(&format!(
            "vgcreate -q own {own} && lvcreate -q -y -L64M -n data own && mkfs.ext4 -q /dev/own/data && \
             mount /dev/own/data /mnt && vgcreate -q guest {shared} && lvcreate -q -y -L64M -n root guest"
        ))?;
        let groups = "vgs --noheadings -o vg_name | xargs";
        assert_eq!(host.check(groups)?, "guest own");
        let configure = "vdsm-tool configure --module lvm-devices";
        let shown = host.check(&format!("{configure} --dry-run"))?;
        assert!(shown.contains("devices of own"), "{shown}");
        assert_eq!(host.check(groups)?, "guest own", "nothing was changed");
        assert!(
            !host
                .run("vdsm-tool is-configured --module lvm-devices")?
                .success()
        );
        host.check(configure)?;
        assert_eq!(host.check(groups)?, "own");
        host.check(
            "vdsm-tool is-configured --module lvm-devices && vdsm-tool config-lvm-filter -y",
        )?;
        host.check("lvextend -q -r -L96M own/data")?;
        host.check("vdsm-tool remove-config --module lvm-devices")?;
        assert_eq!(host.check(groups)?, "guest own");
        Ok::<_, LabError>(())
    });
}
