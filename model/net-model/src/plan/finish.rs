//! What all networks share in the end: shaping of bases, name servers.

use super::{Planner, facts::Facts};
use crate::{NetError, QosClass, Stage, Step};

impl Planner<'_> {
    pub(super) fn finish(&mut self, facts: &Facts<'_>) -> Result<(), NetError> {
        for management in [true, false] {
            for (name, (network, devices)) in facts.networks_after(management) {
                self.at(Stage::Finish, Some(name));
                let class = QosClass(network.vlan);
                match (&devices.base, network.qos) {
                    (Some(base), Some(qos)) => self.push(Step::SetQos {
                        device: base.clone(),
                        class,
                        qos,
                    })?,
                    (base, _) => self.remove_qos(base.as_ref(), class)?,
                }
            }
        }
        self.at(Stage::Finish, None);
        self.nameservers(facts)
    }

    /// Given ones of the network with the default route; none if it lost that, or if it is said that there are
    /// none; what a DHCP client of it brings is the client's to write.
    fn nameservers(&mut self, facts: &Facts<'_>) -> Result<(), NetError> {
        let scope = &facts.desired.scope;
        let after = facts.after.iter();
        let now = after
            .filter(|(name, (network, _))| network.default_route && scope.network(name))
            .map(|(_, (network, _))| network)
            .next();
        let before = facts.before.iter();
        let had = before
            .filter(|(name, _)| scope.network(name))
            .any(|(_, (network, _))| network.default_route && !network.nameservers.is_empty());
        let somebody = facts.after.values().any(|(it, _)| it.default_route);
        let servers = match now {
            Some(network) if !network.nameservers.is_empty() => network.nameservers.clone(),
            Some(network) if network.ipv4.dhcp || network.ipv6.dhcp || network.ipv6.autoconf => {
                return Ok(());
            }
            Some(_) => Vec::new(),
            None if had && !somebody => Vec::new(),
            None => return Ok(()),
        };
        self.push(Step::SetNameservers { servers })
    }
}
