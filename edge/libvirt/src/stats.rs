//! Owns: turning a record's parameters into the port's [`DomainStats`]. Pure: names and numbers in, data out; unknown
//! names and unexpected types are passed over, never an error (later libvirts add names).

use std::collections::BTreeMap;

use uuid::Uuid;
use vm_model::ports::{BalloonStats, BlockStats, DomainState, DomainStats, NetStats, VcpuStats};

use crate::{states::run_state, sys::records::Value};

/// Highest number of a device or virtual CPU that is believed (QEMU's own limits lie far below).
const MAX_INDEX: u32 = 65_535;

/// Collects one domain's sample.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    stats: DomainStats,
    state: Option<i32>,
    reason: Option<i32>,
    vcpus: BTreeMap<u32, VcpuStats>,
    nets: BTreeMap<u32, NetStats>,
    blocks: BTreeMap<u32, BlockStats>,
}

impl Collector {
    pub(crate) fn new(id: Uuid) -> Self {
        Self {
            stats: DomainStats {
                id,
                ..DomainStats::default()
            },
            ..Self::default()
        }
    }

    /// Takes one parameter.
    pub(crate) fn feed(&mut self, field: &str, value: Value<'_>) {
        let Some((group, name)) = field.split_once('.') else {
            return;
        };
        match group {
            "state" => self.feed_state(name, value),
            "cpu" => self.feed_cpu(name, value),
            "balloon" => feed_balloon(&mut self.stats.balloon, name, value),
            "vcpu" => self.feed_vcpu(name, value),
            "net" => with_index(&mut self.nets, name, |net, name| feed_net(net, name, value)),
            "block" => with_index(&mut self.blocks, name, |block, name| {
                feed_block(block, name, value);
            }),
            _ => {}
        }
    }

    fn feed_state(&mut self, name: &str, value: Value<'_>) {
        match name {
            "state" => self.state = signed(value),
            "reason" => self.reason = signed(value),
            _ => {}
        }
    }

    fn feed_cpu(&mut self, name: &str, value: Value<'_>) {
        match name {
            "time" => self.stats.cpu_time_ns = unsigned(value),
            "user" => self.stats.cpu_user_ns = unsigned(value),
            "system" => self.stats.cpu_system_ns = unsigned(value),
            _ => {}
        }
    }

    fn feed_vcpu(&mut self, name: &str, value: Value<'_>) {
        let number = || unsigned(value).and_then(|value| u32::try_from(value).ok());
        match name {
            "current" => self.stats.vcpu_current = number(),
            "maximum" => self.stats.vcpu_maximum = number(),
            _ => with_index(&mut self.vcpus, name, |vcpu, name| match name {
                "state" => vcpu.state = signed(value),
                "time" => vcpu.time_ns = unsigned(value),
                "wait" => vcpu.wait_ns = unsigned(value),
                _ => {}
            }),
        }
    }

    /// The sample. Devices come in libvirt's order; those that only a number was told of are left out.
    pub(crate) fn finish(self) -> DomainStats {
        let mut stats = self.stats;
        stats.state = self.state.map(|state| DomainState {
            state: run_state(state),
            reason: self.reason.unwrap_or(0),
        });
        stats.vcpus = self
            .vcpus
            .into_iter()
            .map(|(index, vcpu)| VcpuStats { index, ..vcpu })
            .collect();
        stats.nets = self
            .nets
            .into_values()
            .filter(|net| !net.name.is_empty())
            .collect();
        stats.blocks = self
            .blocks
            .into_values()
            .filter(|block| !block.name.is_empty())
            .collect();
        stats
    }
}

/// Splits `<n>.<rest>` and hands the entry of `n` and the rest on.
fn with_index<T: Default>(
    entries: &mut BTreeMap<u32, T>,
    name: &str,
    feed: impl FnOnce(&mut T, &str),
) {
    let Some((index, rest)) = name.split_once('.') else {
        return;
    };
    match index.parse::<u32>() {
        Ok(index) if index <= MAX_INDEX => feed(entries.entry(index).or_default(), rest),
        _ => {}
    }
}

fn feed_balloon(balloon: &mut BalloonStats, name: &str, value: Value<'_>) {
    let field = match name {
        "current" => &mut balloon.current,
        "maximum" => &mut balloon.maximum,
        "rss" => &mut balloon.rss,
        "available" => &mut balloon.available,
        "unused" => &mut balloon.unused,
        "usable" => &mut balloon.usable,
        "disk_caches" => &mut balloon.disk_caches,
        "swap_in" => &mut balloon.swap_in,
        "swap_out" => &mut balloon.swap_out,
        "major_fault" => &mut balloon.major_fault,
        "minor_fault" => &mut balloon.minor_fault,
        _ => return,
    };
    *field = unsigned(value);
}

fn feed_net(net: &mut NetStats, name: &str, value: Value<'_>) {
    let field = match name {
        "name" => return net.name = text(value).unwrap_or_default(),
        "rx.bytes" => &mut net.rx_bytes,
        "rx.pkts" => &mut net.rx_pkts,
        "rx.errs" => &mut net.rx_errs,
        "rx.drop" => &mut net.rx_drop,
        "tx.bytes" => &mut net.tx_bytes,
        "tx.pkts" => &mut net.tx_pkts,
        "tx.errs" => &mut net.tx_errs,
        "tx.drop" => &mut net.tx_drop,
        _ => return,
    };
    *field = unsigned(value);
}

fn feed_block(block: &mut BlockStats, name: &str, value: Value<'_>) {
    let field = match name {
        "name" => return block.name = text(value).unwrap_or_default(),
        "path" => return block.path = text(value),
        "rd.reqs" => &mut block.rd_reqs,
        "rd.bytes" => &mut block.rd_bytes,
        "rd.times" => &mut block.rd_times,
        "wr.reqs" => &mut block.wr_reqs,
        "wr.bytes" => &mut block.wr_bytes,
        "wr.times" => &mut block.wr_times,
        "fl.reqs" => &mut block.fl_reqs,
        "fl.times" => &mut block.fl_times,
        "allocation" => &mut block.allocation,
        "capacity" => &mut block.capacity,
        "physical" => &mut block.physical,
        _ => return,
    };
    *field = unsigned(value);
}

fn unsigned(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Unsigned(value) => Some(value),
        Value::Signed(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

fn signed(value: Value<'_>) -> Option<i32> {
    match value {
        Value::Signed(value) => i32::try_from(value).ok(),
        Value::Unsigned(value) => i32::try_from(value).ok(),
        _ => None,
    }
}

fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vm_model::ports::DomainRunState;

    use super::*;

    fn collect(params: &[(&str, Value<'_>)]) -> DomainStats {
        let mut collector = Collector::new(Uuid::from_u128(1));
        for (field, value) in params {
            collector.feed(field, *value);
        }
        collector.finish()
    }

    #[test]
    fn every_group_is_collected() {
        let stats = collect(&[
            ("state.state", Value::Signed(1)),
            ("state.reason", Value::Signed(5)),
            ("cpu.time", Value::Unsigned(10)),
            ("cpu.user", Value::Unsigned(4)),
            ("cpu.system", Value::Unsigned(6)),
            ("balloon.current", Value::Unsigned(1024)),
            ("balloon.rss", Value::Unsigned(77)),
            ("vcpu.current", Value::Unsigned(2)),
            ("vcpu.maximum", Value::Unsigned(4)),
            ("vcpu.0.state", Value::Signed(1)),
            ("vcpu.2.time", Value::Unsigned(9)),
            ("vcpu.2.halted", Value::Bool(true)),
            ("net.count", Value::Unsigned(1)),
            ("net.0.name", Value::Text("vnet0")),
            ("net.0.rx.bytes", Value::Unsigned(3)),
            ("net.0.tx.drop", Value::Unsigned(8)),
            ("block.count", Value::Unsigned(2)),
            ("block.1.name", Value::Text("vdb")),
            ("block.1.fl.times", Value::Unsigned(5)),
            ("block.0.name", Value::Text("vda")),
            ("block.0.path", Value::Text("/d")),
            ("block.0.wr.bytes", Value::Unsigned(512)),
            ("something.new", Value::Double(0.5)),
        ]);
        assert_eq!(
            stats.state,
            Some(DomainState {
                state: DomainRunState::Running,
                reason: 5
            })
        );
        assert_eq!(
            (stats.cpu_time_ns, stats.cpu_user_ns, stats.cpu_system_ns),
            (Some(10), Some(4), Some(6))
        );
        assert_eq!(
            (
                stats.balloon.current,
                stats.balloon.rss,
                stats.balloon.unused
            ),
            (Some(1024), Some(77), None)
        );
        assert_eq!((stats.vcpu_current, stats.vcpu_maximum), (Some(2), Some(4)));
        assert_eq!(
            stats
                .vcpus
                .iter()
                .map(|vcpu| (vcpu.index, vcpu.time_ns))
                .collect::<Vec<_>>(),
            [(0, None), (2, Some(9))]
        );
        assert_eq!(
            (stats.nets[0].rx_bytes, stats.nets[0].tx_drop),
            (Some(3), Some(8))
        );
        assert_eq!(
            stats
                .blocks
                .iter()
                .map(|block| block.name.as_str())
                .collect::<Vec<_>>(),
            ["vda", "vdb"]
        );
        assert_eq!(
            (stats.blocks[0].path.as_deref(), stats.blocks[0].wr_bytes),
            (Some("/d"), Some(512))
        );
        assert_eq!(stats.blocks[1].fl_times, Some(5));
    }

    #[test]
    fn wrong_types_and_numbers_are_passed_over() {
        let stats = collect(&[
            ("cpu.time", Value::Text("x")),
            ("cpu.user", Value::Signed(-1)),
            ("vcpu.current", Value::Unsigned(u64::MAX)),
            ("vcpu.99999999999.time", Value::Unsigned(1)),
            ("vcpu.4000000000.time", Value::Unsigned(1)),
            ("block.x.name", Value::Text("vda")),
            ("block.0.rd.reqs", Value::Unsigned(1)),
            ("net", Value::Unsigned(1)),
        ]);
        assert_eq!(
            stats,
            DomainStats {
                id: Uuid::from_u128(1),
                ..DomainStats::default()
            }
        );
    }

    proptest! {
        #[test]
        fn any_names_are_survived(fields in prop::collection::vec(("(state|cpu|balloon|vcpu|net|block|x)(\\.[a-z0-9]{0,12}){0,4}", any::<i64>()), 0..40)) {
            let mut collector = Collector::new(Uuid::nil());
            for (field, value) in &fields {
                collector.feed(field, Value::Signed(*value));
                collector.feed(field, Value::Text("t"));
            }
            let stats = collector.finish();
            prop_assert!(stats.blocks.len() <= fields.len() && stats.nets.len() <= fields.len());
        }
    }
}
