//! Two hosts on one network, with one disk.

use std::time::Duration;

use hosts::{Host, Lab, LabError, Network, Result};

const LONG: Duration = Duration::from_mins(12);

/// Hosts 1 and 2 with 10.77.0.1 and 10.77.0.2 on `data0`.
fn pair(lab: &Lab, network: &Network, disk: &hosts::Disk) -> Result<[Host; 2]> {
    let start = |number: u8| {
        let host = lab.host(number).nic(network).disk(disk).start()?;
        host.check(&format!(
            "ip addr add 10.77.0.{number}/24 dev data0; ip link set data0 up"
        ))?;
        Ok::<_, LabError>(host)
    };
    Ok([start(1)?, start(2)?])
}

#[test]
fn lab_two_hosts_share_a_network_and_a_disk() {
    hosts::test("lab_two_hosts_share_a_network_and_a_disk", |lab| {
        let network = lab.network()?;
        let disk = lab.disk("shared", 64)?;
        let [one, two] = pair(lab, &network, &disk)?;
        assert_eq!(two.name(), "lab2");
        one.wait_until("lab2 answers", "ping -c1 -W1 lab2", LONG)?;
        two.wait_until("lab1 answers", "ping -c1 -W1 lab1", LONG)?;
        let ids = [&one, &two].map(|host| {
            host.check("cat /etc/machine-id /sys/class/dmi/id/product_uuid")
                .unwrap()
        });
        assert_ne!(ids[0], ids[1]);

        let device = disk.device();
        one.check(&format!(
            "echo from one | dd of={device} bs=4096 conv=sync oflag=direct status=none"
        ))?;
        let read = format!("dd if={device} bs=4096 count=1 iflag=direct status=none | tr -d '\\0'");
        assert_eq!(two.check(&read)?, "from one");

        network.swallow(true);
        assert!(!one.run("ping -c2 -W1 lab2")?.success());
        assert_eq!(one.check("cat /sys/class/net/data0/carrier")?, "1");
        network.swallow(false);
        one.wait_until("lab2 answers again", "ping -c1 -W1 lab2", LONG)?;

        let cable = two.nics()[0];
        two.set_link(cable, false)?;
        two.wait_until("the cut", "grep -qx 0 /sys/class/net/data0/carrier", LONG)?;
        assert!(!one.run("ping -c2 -W1 lab2")?.success());
        two.set_link(cable, true)?;
        one.wait_until("lab2 answers again", "ping -c1 -W1 lab2", LONG)?;

        two.pull_power();
        assert!(!one.run("ping -c2 -W1 lab2")?.success());
        assert_eq!(one.check(&read)?, "from one");
        Ok::<_, LabError>(())
    });
}
