//! The conversation with the kernel during one run: a channel with an end, and a look at single links.

use std::time::{Duration, Instant};

use net_model::{IfName, Step};
use netlink::{
    Act, Channel, NetlinkError, Refusal,
    packet::{
        RouteNetlinkMessage,
        link::{
            InfoBond, InfoData, InfoVlan, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage,
        },
    },
};
use rustix::io::Errno;

use crate::ApplyError;

/// Why a step cannot be done, before it is told which step.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The kernel says no.
    Refused(Refusal),
    /// The kernel says nothing.
    Unanswered(NetlinkError),
    /// Something else is there.
    InTheWay(String),
    /// A file.
    File(String, std::io::Error),
}

impl Trouble {
    /// There is no such interface.
    pub(super) fn no_link(name: &IfName) -> Self {
        Self::Refused(Refusal {
            errno: Errno::NODEV.raw_os_error(),
            words: Some(format!("there is no {name}")),
        })
    }

    pub(super) fn of(self, step: &Step) -> ApplyError {
        let step = Box::new(step.clone());
        match self {
            Self::Refused(source) => ApplyError::Refused { step, source },
            Self::Unanswered(source) => ApplyError::Unanswered { step, source },
            Self::InTheWay(why) => ApplyError::InTheWay { step, why },
            Self::File(path, source) => ApplyError::File { step, path, source },
        }
    }
}

impl From<NetlinkError> for Trouble {
    fn from(error: NetlinkError) -> Self {
        Self::Unanswered(error)
    }
}

/// A link at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) index: u32,
    /// `bridge`, `vlan`, `veth`; empty for a card.
    pub(super) kind: String,
    /// Index of its bridge or bond.
    pub(super) master: Option<u32>,
    /// Index of what a VLAN is on, and its id.
    pub(super) vlan: Option<(u32, u16)>,
    /// Mode of a bond.
    pub(super) mode: Option<u8>,
}

/// A channel with an end.
pub(super) struct Talk {
    channel: Channel,
    until: Instant,
}

impl Talk {
    pub(super) fn open(until: Instant) -> Result<Self, NetlinkError> {
        let left = until.saturating_duration_since(Instant::now());
        let channel = Channel::open(left)?;
        Ok(Self { channel, until })
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Nothing once the time is over.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn channel(&mut self) -> &mut Channel {
        let left = self.until.saturating_duration_since(Instant::now());
        self.channel.set_deadline(left);
        &mut self.channel
    }

    pub(super) fn act(&mut self, acts: &[Act]) -> Result<Vec<Result<(), Refusal>>, NetlinkError> {
        self.channel().act(acts)
    }

    pub(super) fn act_one(&mut self, act: Act) -> Result<Result<(), Refusal>, NetlinkError> {
        self.channel().act_one(act)
    }

    pub(super) fn dump(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.channel().dump(request)
    }

    pub(super) fn index(&self, name: &IfName) -> Result<u32, Trouble> {
        let index = self.channel.index_of(name.as_str());
        index.ok_or_else(|| Trouble::no_link(name))
    }

    /// What a link is now; nothing if there is none.
    pub(super) fn look(&mut self, name: &IfName) -> Result<Option<Seen>, Trouble> {
        let mut request = LinkMessage::default();
        request.attributes = vec![
            LinkAttribute::IfName(name.to_string()),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        match self.channel().get(&RouteNetlinkMessage::GetLink(request))? {
            Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(seen(&link))),
            Ok(_) => Ok(None),
            Err(refusal) if refusal.is(Errno::NODEV) => Ok(None),
            Err(refusal) => Err(Trouble::Refused(refusal)),
        }
    }
}

fn seen(link: &LinkMessage) -> Seen {
    let mut seen = Seen {
        index: link.header.index,
        ..Seen::default()
    };
    let (mut parent, mut id) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Controller(it) => seen.master = Some(*it).filter(|it| *it != 0),
            LinkAttribute::Link(it) => parent = Some(*it),
            LinkAttribute::LinkInfo(it) => add_info(it, &mut seen, &mut id),
            _ => {}
        }
    }
    seen.vlan = parent.zip(id);
    seen
}

fn add_info(info: &[LinkInfo], seen: &mut Seen, id: &mut Option<u16>) {
    for it in info {
        match it {
            LinkInfo::Kind(kind) => seen.kind = kind.to_string(),
            LinkInfo::Data(InfoData::Vlan(all)) => {
                *id = all.iter().find_map(|it| match it {
                    InfoVlan::Id(id) => Some(*id),
                    _ => None,
                });
            }
            LinkInfo::Data(InfoData::Bond(all)) => {
                seen.mode = all.iter().find_map(|it| match it {
                    InfoBond::Mode(mode) => Some(u8::from(*mode)),
                    _ => None,
                });
            }
            _ => {}
        }
    }
}
