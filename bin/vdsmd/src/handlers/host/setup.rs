//! What a client asks of networks, from the words of the wire to those of the model. Nothing is judged here.

use std::collections::BTreeMap;

use net_model::request::{
    BondAttributes, CallOptions, CurveAttributes, HostQosAttributes, Loose, NetworkAttributes,
    OutQosAttributes, RouteAttributes, SetupRequest,
};
use schema::{
    Open,
    host::network::{
        BandwidthCurve, BondWish, HostQos, NetworkWish, RouteWish, SetupNetworks, SetupOptions,
    },
};
use serde_json::Value;

/// The whole request.
pub(super) fn request(p: SetupNetworks) -> SetupRequest {
    SetupRequest {
        networks: each(p.networks, network),
        bondings: each(p.bondings, bond),
        options: options(p.options),
    }
}

fn each<T, W>(all: BTreeMap<String, T>, meant: fn(T) -> W) -> BTreeMap<String, W> {
    all.into_iter()
        .map(|(name, one)| (name, meant(one)))
        .collect()
}

fn loose<T: Into<Loose>>(given: Option<T>) -> Option<Loose> {
    given.map(Into::into)
}

fn network(Open { known, strangers }: Open<NetworkWish>) -> NetworkAttributes {
    let custom = known.custom.map(|all| {
        let all = all.into_iter();
        all.map(|(key, value)| (key, Value::String(value)))
            .collect()
    });
    NetworkAttributes {
        remove: loose(known.remove),
        nic: known.nic,
        bonding: known.bonding,
        vlan: loose(known.vlan.map(|it| it.0)),
        bridged: loose(known.bridged.map(|it| it.0)),
        mtu: loose(known.mtu),
        stp: loose(known.stp_kept.map(|it| it.0)),
        stp_upper: loose(known.stp),
        bootproto: known.bootproto,
        ipaddr: known.ipaddr,
        netmask: known.netmask,
        prefix: loose(known.prefix.map(|it| it.0)),
        gateway: known.gateway,
        ipv4addrs: known.ipv4addrs,
        ipv6addr: known.ipv6addr,
        ipv6gateway: known.ipv6gateway,
        ipv6autoconf: loose(known.ipv6autoconf),
        dhcpv6: loose(known.dhcpv6),
        ipv6addrs: known.ipv6addrs,
        default_route: loose(known.default_route),
        nameservers: known.nameservers,
        routes: known.routes.map(|all| all.into_iter().map(route).collect()),
        host_qos: known.host_qos.map(host_qos),
        custom,
        switch: known.switch,
        blockingdhcp: loose(known.blocking_dhcp),
        extra: strangers,
    }
}

fn route(wish: RouteWish) -> RouteAttributes {
    RouteAttributes {
        destination: wish.destination,
        via: wish.via,
        metric: loose(wish.metric),
        table: loose(wish.table),
        src: wish.src,
        mtu: loose(wish.mtu),
        onlink: loose(wish.onlink),
        kind: wish.kind,
    }
}

fn host_qos(qos: HostQos) -> HostQosAttributes {
    HostQosAttributes {
        out: qos.out.map(|out| OutQosAttributes {
            ls: out.ls.map(curve),
            ul: out.ul.map(curve),
            rt: out.rt.map(curve),
        }),
    }
}

fn curve(curve: BandwidthCurve) -> CurveAttributes {
    CurveAttributes {
        m1: loose(curve.m1),
        d: loose(curve.d.map(i64::from)),
        m2: Some(curve.m2.into()),
    }
}

fn bond(Open { known, strangers }: Open<BondWish>) -> BondAttributes {
    BondAttributes {
        remove: loose(known.remove),
        nics: known.nics,
        options: known.options,
        hwaddr: known.hwaddr,
        switch: known.switch,
        extra: strangers,
    }
}

/// A time that is negative is none, as upstream has it; one without bounds is a day.
fn options(given: SetupOptions) -> CallOptions {
    const A_DAY: u32 = 86_400;
    let usual = CallOptions::default();
    let seconds = given.connectivity_timeout;
    let seconds = seconds.map(|it| u32::try_from(it.max(0)).unwrap_or(A_DAY).min(A_DAY));
    CallOptions {
        connectivity_check: given
            .connectivity_check
            .map_or(usual.connectivity_check, |it| it.0),
        connectivity_timeout: seconds.unwrap_or(usual.connectivity_timeout),
        commit_on_success: given.commit_on_success.unwrap_or(usual.commit_on_success),
        dry_run: given.dry_run.unwrap_or(usual.dry_run),
    }
}
