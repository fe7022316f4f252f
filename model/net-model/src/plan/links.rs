//! VLAN, bridge, ports and MTU of one network.

use std::collections::BTreeMap;

use super::{
    Planner,
    facts::{Devices, Facts, Known},
};
use crate::{BridgeConfig, IfName, LinkKind, NetError, NetName, Network, Step, bridge};

impl Planner<'_> {
    pub(super) fn links_of(
        &mut self,
        facts: &Facts<'_>,
        name: &NetName,
        (network, devices): &Known<'_>,
    ) -> Result<(), NetError> {
        self.ensure_vlan(facts, network, devices)?;
        let (Some(bridge), Some(config)) = (&devices.bridge, &network.bridge) else {
            return self.leave_masters(devices);
        };
        if let Some(port) = &devices.port {
            self.empty(port)?;
        }
        self.ensure_bridge(bridge, devices)?;
        let had = facts.before.get(name);
        let had = had.and_then(|(network, _)| network.bridge.as_ref());
        self.set_bridge_options(bridge, config, had)?;
        if let Some(port) = &devices.port {
            self.enter_bridge(port, bridge)?;
        }
        self.set_bridge_mtu(bridge, network.mtu)?;
        self.push(Step::SetUp {
            link: bridge.clone(),
        })
    }

    fn ensure_vlan(
        &mut self,
        facts: &Facts<'_>,
        network: &Network,
        devices: &Devices,
    ) -> Result<(), NetError> {
        let (Some(name), Some(parent), Some(id)) = (&devices.vlan, &devices.base, network.vlan)
        else {
            return Ok(());
        };
        let right = LinkKind::Vlan {
            parent: parent.clone(),
            id: id.get(),
        };
        let wrong = self.link(name).is_some_and(|it| it.kind != right);
        let ours = || {
            let mut before = facts.before.values();
            before.any(|(_, it)| it.vlan.as_ref() == Some(name))
        };
        if wrong && ours() {
            self.push(Step::DeleteLink { name: name.clone() })?;
        }
        if wrong || self.link(name).is_none() {
            self.push(Step::CreateVlan {
                name: name.clone(),
                parent: parent.clone(),
                id,
            })?;
        }
        self.push(Step::SetMtu {
            link: name.clone(),
            mtu: network.mtu,
        })?;
        self.push(Step::SetUp { link: name.clone() })
    }

    /// A network without a bridge is on an interface that belongs to none.
    fn leave_masters(&mut self, devices: &Devices) -> Result<(), NetError> {
        let top = &devices.top;
        if self.link(top).is_some_and(|it| it.master.is_some()) {
            self.push(Step::ClearMaster { link: top.clone() })?;
        }
        self.push(Step::SetUp { link: top.clone() })
    }

    /// A new bridge has the hardware address of its port, so that a DHCP server knows it again.
    fn ensure_bridge(&mut self, name: &IfName, devices: &Devices) -> Result<(), NetError> {
        if self.link(name).is_some() {
            return Ok(());
        }
        let port = devices.port.as_ref().and_then(|it| self.link(it));
        let mac = port.map(|it| it.mac).filter(|it| it.is_usable());
        self.push(Step::CreateBridge {
            name: name.clone(),
            mac,
        })
    }

    fn set_bridge_options(
        &mut self,
        name: &IfName,
        config: &BridgeConfig,
        had: Option<&BridgeConfig>,
    ) -> Result<(), NetError> {
        let Some(LinkKind::Bridge(state)) = self.link(name).map(|it| &it.kind) else {
            return Ok(());
        };
        let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
        let dropped = had.into_iter().flat_map(|it| it.options.keys());
        for option in dropped.filter(|it| !config.options.contains_key(*it)) {
            wanted.extend(bridge::default_value(option).map(|it| (option.as_str(), it)));
        }
        let given = config.options.iter();
        wanted.extend(given.map(|(option, value)| (option.as_str(), value.as_str())));
        let stp = u8::from(config.stp).to_string();
        wanted.insert("stp_state", &stp);
        let differs = |option: &str, value: &str| {
            if option == "stp_state" {
                return state.stp != config.stp;
            }
            let now = state.options.get(option).map(String::as_str);
            let now = now.or_else(|| bridge::default_value(option));
            now.is_none_or(|now| !bridge::same_value(now, value))
        };
        let changes: Vec<Step> = wanted
            .into_iter()
            .filter(|(option, value)| differs(option, value))
            .map(|(option, value)| Step::SetBridgeOption {
                bridge: name.clone(),
                option: option.to_owned(),
                value: value.to_owned(),
            })
            .collect();
        changes.into_iter().try_for_each(|it| self.push(it))
    }

    fn enter_bridge(&mut self, port: &IfName, bridge: &IfName) -> Result<(), NetError> {
        let master = self.link(port).and_then(|it| it.master.clone());
        if master.as_ref().is_some_and(|it| it != bridge) {
            self.push(Step::ClearMaster { link: port.clone() })?;
        }
        self.push(Step::SetMaster {
            link: port.clone(),
            master: bridge.clone(),
        })?;
        self.push(Step::SetUp { link: port.clone() })
    }

    /// Whether a bridge follows its ports nobody can see: if its MTU was wrong it is set, whatever the model says.
    fn set_bridge_mtu(&mut self, bridge: &IfName, mtu: u32) -> Result<(), NetError> {
        let step = Step::SetMtu {
            link: bridge.clone(),
            mtu,
        };
        let was = self.origin.links.get(bridge);
        if was.is_some_and(|it| it.mtu != mtu) {
            self.push_anyway(step)
        } else {
            self.push(step)
        }
    }
}
