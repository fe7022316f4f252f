//! Shaping by HFSC, in the shape that [`net_model::qos`] describes, and its reader.
//!
//! Who has the untagged class? It is there as the default class even if nobody asked for it. If somebody did, the
//! `fq_codel` beneath it has the class's number as its handle, as upstream gives it; else the kernel chose one.
//!
//! Several acts make one step: each is repeatable, so a run that ends between two of them is mended by the next.

use std::collections::BTreeMap;

use net_model::{
    Curve, HostQos, IfName, QosClass,
    qos::{CurveKind, ROOT_HANDLE, UNTAGGED_CLASS, default_share},
};
use netlink::{
    Act, NetlinkError,
    core::{DefaultNla, Nla as _},
    packet::{
        RouteNetlinkMessage as Message,
        tc::{TcAttribute, TcHandle, TcMessage, TcOption},
    },
};
use observe::network::Indexes;
use rustix::io::Errno;

use super::{
    raw,
    talk::{Talk, Trouble},
};

const HFSC: &str = "hfsc";
const OPTIONS: u16 = 2;
/// `TCA_HFSC_*`: real time, link share, upper limit.
const CURVES: [u16; 3] = [1, 2, 3];
/// `ETH_P_ALL` in the byte order of the network.
const ALL_PROTOCOLS: u32 = 0x0003_u16.to_be() as u32;
/// What says that there is nothing to remove.
const NOT_THERE: &[Errno] = &[Errno::NOENT, Errno::INVAL, Errno::OPNOTSUPP];
const THERE: &[Errno] = &[Errno::EXIST];

type Classes = BTreeMap<QosClass, HostQos>;

/// An act, and the refusals that do not matter.
type Wish = (Act, &'static [Errno]);

/// What a device has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shaping {
    /// Major of its HFSC, if that is its root.
    root: Option<u16>,
    /// Classes that somebody asked for.
    classes: Classes,
    /// The share of the default class, if nobody asked for it.
    share: Option<Curve>,
}

/// Shaping of all devices.
pub(super) fn read(
    talk: &mut Talk,
    indexes: &Indexes,
) -> Result<BTreeMap<IfName, Classes>, NetlinkError> {
    let disciplines = disciplines(talk)?;
    let mut all = BTreeMap::new();
    for (index, name) in indexes {
        let Ok(number) = i32::try_from(*index) else {
            continue;
        };
        let shaping = of_device(talk, &disciplines, number)?;
        if !shaping.classes.is_empty() {
            all.insert(name.clone(), shaping.classes);
        }
    }
    Ok(all)
}

/// Shapes a class of a device.
pub(super) fn set(
    talk: &mut Talk,
    device: &IfName,
    class: QosClass,
    qos: HostQos,
) -> Result<(), Trouble> {
    let index = number(talk.index(device)?);
    let disciplines = disciplines(talk)?;
    let mut shaping = of_device(talk, &disciplines, index)?;
    if shaping.classes.get(&class) == Some(&qos) {
        return Ok(());
    }
    shaping.classes.insert(class, qos);
    let mut wishes = Vec::new();
    let root = shaping.root.unwrap_or(ROOT_HANDLE);
    if shaping.root.is_none() {
        wishes.extend(root_of(index));
    }
    let device = Device { index, root };
    if !shaping.classes.contains_key(&QosClass(None)) {
        wishes.extend(device.default_class(&shaping));
    }
    wishes.extend(device.without(class));
    wishes.extend(device.with(class, &qos, Some(class.minor())));
    fulfil(talk, wishes)
}

/// Shapes it no longer.
pub(super) fn remove(talk: &mut Talk, device: &IfName, class: QosClass) -> Result<(), Trouble> {
    let Ok(index) = talk.index(device) else {
        return Ok(());
    };
    let index = number(index);
    let disciplines = disciplines(talk)?;
    let mut shaping = of_device(talk, &disciplines, index)?;
    let Some(root) = shaping.root else {
        return Ok(());
    };
    let device = Device { index, root };
    shaping.classes.remove(&class);
    let mut wishes = Vec::new();
    if shaping.classes.is_empty() {
        wishes.extend(device.without_root());
        return fulfil(talk, wishes);
    }
    wishes.extend(device.without(class));
    if !shaping.classes.contains_key(&QosClass(None)) {
        wishes.extend(device.default_class(&shaping));
    }
    fulfil(talk, wishes)
}

fn fulfil(talk: &mut Talk, wishes: Vec<Wish>) -> Result<(), Trouble> {
    for (act, fine) in wishes {
        match talk.act_one(act)? {
            Err(refusal) if fine.iter().all(|it| !refusal.is(*it)) => {
                return Err(Trouble::Refused(refusal));
            }
            _ => {}
        }
    }
    Ok(())
}

fn number(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(0)
}

/// A root of ours in the place of what is there, and the qdisc of what comes in.
fn root_of(index: i32) -> [Wish; 2] {
    let root = Object {
        index,
        parent: TcHandle::ROOT,
        handle: handle(ROOT_HANDLE, 0),
        info: 0,
    };
    let default = UNTAGGED_CLASS.to_ne_bytes();
    let ingress = Object {
        index,
        parent: TcHandle::INGRESS,
        handle: handle(u16::MAX, 0),
        info: 0,
    };
    let root = Message::NewQueueDiscipline(root.message(HFSC, Some(&default)));
    let ingress = Message::NewQueueDiscipline(ingress.message("ingress", None));
    [(Act::replace(root), &[]), (Act::create(ingress), THERE)]
}

/// A device whose root is HFSC.
#[derive(Debug, Clone, Copy)]
struct Device {
    index: i32,
    root: u16,
}

impl Device {
    /// A class, its filter, and the fair qdisc beneath it.
    fn with(self, class: QosClass, qos: &HostQos, leaf: Option<u16>) -> [Wish; 3] {
        let minor = class.minor();
        let object = self.object(handle(self.root, 0), handle(self.root, minor));
        let class_message = object.message(HFSC, Some(&curves(qos)));
        let fair = self.object(handle(self.root, minor), handle(leaf.unwrap_or(0), 0));
        [
            (Act::create(Message::NewTrafficClass(class_message)), &[]),
            (
                Act::create(Message::NewQueueDiscipline(
                    fair.message("fq_codel", Some(&[])),
                )),
                &[],
            ),
            (
                Act::prepend(Message::NewTrafficFilter(self.filter(class))),
                &[],
            ),
        ]
    }

    fn without(self, class: QosClass) -> [Wish; 2] {
        let minor = class.minor();
        let mut filter = self.object(handle(self.root, 0), TcHandle::UNSPEC);
        filter.info = preference(minor);
        let class = self.object(handle(self.root, 0), handle(self.root, minor));
        let filter = Message::DelTrafficFilter(filter.bare());
        let class = Message::DelTrafficClass(class.bare());
        [
            (Act::change(filter), NOT_THERE),
            (Act::change(class), NOT_THERE),
        ]
    }

    fn without_root(self) -> [Wish; 2] {
        let root = self.object(TcHandle::ROOT, TcHandle::UNSPEC);
        let ingress = self.object(TcHandle::INGRESS, TcHandle::UNSPEC);
        let root = Message::DelQueueDiscipline(root.bare());
        let ingress = Message::DelQueueDiscipline(ingress.message("ingress", None));
        [
            (Act::change(root), NOT_THERE),
            (Act::change(ingress), NOT_THERE),
        ]
    }

    /// The class of what nobody shapes, if its share is not right.
    fn default_class(self, shaping: &Shaping) -> Vec<Wish> {
        let least = Curve {
            m2: 1,
            ..Curve::default()
        };
        let share = default_share(&shaping.classes).unwrap_or(least);
        if shaping.share == Some(share) {
            return Vec::new();
        }
        let qos = HostQos {
            ls: Some(share),
            ..HostQos::default()
        };
        let default = QosClass(None);
        let gone = self.without(default).into_iter();
        gone.chain(self.with(default, &qos, None)).collect()
    }

    fn object(self, parent: TcHandle, handle: TcHandle) -> Object {
        Object {
            index: self.index,
            parent,
            handle,
            info: 0,
        }
    }

    fn filter(self, class: QosClass) -> TcMessage {
        let mut object = self.object(handle(self.root, 0), TcHandle::UNSPEC);
        object.info = preference(class.minor());
        match class.0 {
            Some(id) => {
                let class = u32::from(handle(self.root, class.minor()));
                object.message("basic", Some(&vlan_match(id.get(), class)))
            }
            // Upstream names no major; so do we, that it may remove the class.
            None => object.message("u32", Some(&any_match(UNTAGGED_CLASS.into()))),
        }
    }
}

/// `struct tcmsg`.
#[derive(Debug, Clone, Copy)]
struct Object {
    index: i32,
    parent: TcHandle,
    handle: TcHandle,
    info: u32,
}

impl Object {
    fn bare(self) -> TcMessage {
        let mut message = TcMessage::with_index(self.index);
        message.header.parent = self.parent;
        message.header.handle = self.handle;
        message.header.info = self.info;
        message
    }

    fn message(self, kind: &str, options: Option<&[u8]>) -> TcMessage {
        let mut message = self.bare();
        message.attributes.push(TcAttribute::Kind(kind.to_owned()));
        if let Some(options) = options {
            let options = DefaultNla::new(OPTIONS, options.to_vec());
            message.attributes.push(TcAttribute::Other(options));
        }
        message
    }
}

fn handle(major: u16, minor: u16) -> TcHandle {
    TcHandle { major, minor }
}

fn preference(minor: u16) -> u32 {
    u32::from(minor) << 16 | ALL_PROTOCOLS
}

/// `TCA_HFSC_*`, a `struct tc_service_curve` each.
fn curves(qos: &HostQos) -> Vec<u8> {
    let all = [
        (qos.rt, CurveKind::Rate),
        (qos.ls, CurveKind::LinkShare),
        (qos.ul, CurveKind::Rate),
    ];
    let mut bytes = Vec::new();
    for (attribute, (curve, kind)) in CURVES.into_iter().zip(all) {
        let Some(curve) = curve else { continue };
        let (m1, m2) = curve.kernel_slopes(kind);
        let d = u32::try_from(curve.d).unwrap_or(u32::MAX);
        let value = [m1, d, m2].map(u32::to_ne_bytes).concat();
        bytes.extend(raw::attribute(attribute, &value));
    }
    bytes
}

/// Options of `basic`: `match meta(vlan eq ID)`, and the class.
fn vlan_match(id: u16, class: u32) -> Vec<u8> {
    const META: u16 = 4;
    const VLAN_TAG: u16 = 46;
    const INTEGER: u16 = 1 << 12;
    let compare = [VLAN_TAG | INTEGER, 0, INTEGER, 0]
        .map(u16::to_ne_bytes)
        .concat();
    let meta = [
        raw::attribute(1, &compare),
        raw::attribute(2, &0_u32.to_ne_bytes()),
        raw::attribute(3, &u32::from(id).to_ne_bytes()),
    ];
    let header = [0, META, 0, 0].map(u16::to_ne_bytes).concat();
    let list = raw::attribute(1, &[header, meta.concat()].concat());
    let count = [1_u16, 0].map(u16::to_ne_bytes).concat();
    let tree = [raw::attribute(1, &count), raw::attribute(2, &list)].concat();
    [
        raw::attribute(2, &tree),
        raw::attribute(1, &class.to_ne_bytes()),
    ]
    .concat()
}

/// Options of `u32`: `match u8 0 0`, and the class.
fn any_match(class: u32) -> Vec<u8> {
    const TERMINAL: u8 = 1;
    let mut selector = [0; 32];
    let [flags, _, keys, ..] = &mut selector;
    *flags = TERMINAL;
    *keys = 1;
    [
        raw::attribute(1, &class.to_ne_bytes()),
        raw::attribute(5, &selector),
    ]
    .concat()
}

/// All of a kind. None if the kernel has no shaping at all; none, too, if what is there is beyond us: it is not ours.
fn dump(talk: &mut Talk, request: &Message) -> Result<Vec<Message>, NetlinkError> {
    match talk.dump(request) {
        Err(NetlinkError::Malformed { .. }) => Ok(Vec::new()),
        Err(NetlinkError::Refused { source }) if source.is(Errno::OPNOTSUPP) => Ok(Vec::new()),
        all => all,
    }
}

/// All queueing disciplines.
fn disciplines(talk: &mut Talk) -> Result<Vec<TcMessage>, NetlinkError> {
    let all = dump(talk, &Message::GetQueueDiscipline(TcMessage::default()))?;
    let all = all.into_iter().filter_map(|it| match it {
        Message::NewQueueDiscipline(it) => Some(it),
        _ => None,
    });
    Ok(all.collect())
}

fn of_device(
    talk: &mut Talk,
    disciplines: &[TcMessage],
    index: i32,
) -> Result<Shaping, NetlinkError> {
    let of_it = || disciplines.iter().filter(|it| it.header.index == index);
    let root = of_it().find(|it| it.header.parent == TcHandle::ROOT && kind(it) == Some(HFSC));
    let Some(root) = root.map(|it| it.header.handle.major) else {
        return Ok(Shaping::default());
    };
    let untagged = handle(root, UNTAGGED_CLASS);
    let leaf = of_it().find(|it| it.header.parent == untagged);
    let asked = leaf.is_some_and(|it| it.header.handle.major == UNTAGGED_CLASS);
    let all = dump(
        talk,
        &Message::GetTrafficClass(TcMessage::with_index(index)),
    )?;
    let mut shaping = Shaping {
        root: Some(root),
        ..Shaping::default()
    };
    for message in &all {
        let Message::NewTrafficClass(class) = message else {
            continue;
        };
        let Some((class, qos)) = read_class(class, root) else {
            continue;
        };
        if class.0.is_none() && !asked {
            shaping.share = qos.ls;
        } else {
            shaping.classes.insert(class, qos);
        }
    }
    Ok(shaping)
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|it| match it {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

/// Nothing, if it is not one of ours: the root itself, another kind, a number that is no VLAN's.
fn read_class(message: &TcMessage, root: u16) -> Option<(QosClass, HostQos)> {
    let at = message.header.handle;
    if kind(message) != Some(HFSC) || at.major != root || at.minor == 0 {
        return None;
    }
    let class = QosClass::try_from(at.minor).ok()?;
    let options = message.attributes.iter().find_map(|it| match it {
        TcAttribute::Options(all) => all.iter().find_map(|it| match it {
            TcOption::Other(it) => Some(it),
            _ => None,
        }),
        _ => None,
    })?;
    let mut bytes = vec![0; options.value_len()];
    options.emit_value(&mut bytes);
    let mut qos = HostQos::default();
    for (attribute, value) in raw::attributes(&bytes) {
        match attribute {
            1 => qos.rt = curve(CurveKind::Rate, value),
            2 => qos.ls = curve(CurveKind::LinkShare, value),
            3 => qos.ul = curve(CurveKind::Rate, value),
            _ => {}
        }
    }
    Some((class, qos))
}

/// A `struct tc_service_curve`.
fn curve(kind: CurveKind, bytes: &[u8]) -> Option<Curve> {
    let word = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    Some(Curve::from_kernel(
        kind,
        word(0)?,
        word(4)?.into(),
        word(8)?,
    ))
}

#[cfg(test)]
#[path = "qos_tests.rs"]
mod tests;
