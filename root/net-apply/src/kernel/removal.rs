//! Many links removed at once. The kernel waits for each removal until nobody can see the link any more, ten
//! milliseconds and more; for a whole group of links it waits once.
//!
//! A bridge or VLAN that goes need not go at once: steps that only take away, and not from it, may come before. So a
//! stretch of such steps runs first, then its links go together. A bond goes in its turn: what it had is set right
//! after it.

use std::{collections::BTreeSet, ops::Range};

use net_model::{IfName, Step};
use netlink::{
    Act,
    packet::{
        RouteNetlinkMessage as Message,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
    },
};

use super::talk::{Talk, Trouble};

/// The group (`IFLA_GROUP`) of what is about to go. Nobody gives his links such a number.
const GOING: u32 = 0x7664_736d;

/// Fewer go one by one.
const WORTH_IT: usize = 2;

/// A stretch of steps, by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Steps that take away, some of them links.
    Removals(Range<usize>),
    /// All else.
    Others(Range<usize>),
}

impl Part {
    pub(super) fn places(&self) -> Range<usize> {
        match self {
            Self::Removals(places) | Self::Others(places) => places.clone(),
        }
    }
}

/// The link that a step removes.
pub(super) fn deleted(step: &Step) -> Option<&IfName> {
    match step {
        Step::DeleteLink { name } => Some(name),
        _ => None,
    }
}

/// Steps in stretches; together they are all, in order.
pub(super) fn parts(talk: &mut Talk, steps: &[&Step]) -> Vec<Part> {
    let names: Vec<&IfName> = steps.iter().filter_map(|it| deleted(it)).collect();
    if names.len() < WORTH_IT {
        return vec![Part::Others(0..steps.len())];
    }
    // Who cannot be looked at goes in its turn.
    let others = names.into_iter().filter(|name| {
        let seen = talk.look(name);
        !seen.is_ok_and(|it| it.is_none_or(|it| it.kind != "bond"))
    });
    split(steps, &others.collect())
}

/// `fixed`: links that go in their turn.
fn split(steps: &[&Step], fixed: &BTreeSet<&IfName>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut start = 0;
    while start < steps.len() {
        let rest = steps.get(start..).unwrap_or_default();
        let length = stretch(rest, fixed);
        let links = rest.iter().take(length).filter(|it| deleted(it).is_some());
        if links.count() >= WORTH_IT {
            parts.push(Part::Removals(start..start + length));
            start += length;
            continue;
        }
        let end = start + length.max(1);
        match parts.last_mut() {
            Some(Part::Others(places)) => places.end = end,
            _ => parts.push(Part::Others(start..end)),
        }
        start = end;
    }
    parts
}

/// How many steps from here on only take away, and nothing from a link that one of them removes before.
fn stretch(steps: &[&Step], fixed: &BTreeSet<&IfName>) -> usize {
    let mut going: BTreeSet<&IfName> = BTreeSet::new();
    let fits = steps.iter().take_while(|step| {
        let link = match step {
            Step::DeleteLink { name } => return !fixed.contains(name) && going.insert(name),
            Step::RemoveRule { .. } => return true,
            Step::RemoveRoute { route } => match &route.device {
                Some(device) => device,
                None => return true,
            },
            Step::ClearMaster { link }
            | Step::SetDown { link }
            | Step::SetMtu { link, .. }
            | Step::RemoveAddress { link, .. }
            | Step::StopDhcp { link, .. } => link,
            _ => return false,
        };
        !going.contains(link)
    });
    fits.count()
}

/// Removes bridges and VLANs of these names together. Best effort: whoever calls looks at each afterwards.
pub(super) fn together<'a>(
    talk: &mut Talk,
    names: impl Iterator<Item = &'a IfName>,
) -> Result<(), Trouble> {
    let mut links = BTreeSet::new();
    for name in names {
        let seen = talk.look(name)?;
        let seen = seen.filter(|it| matches!(it.kind.as_str(), "bridge" | "vlan"));
        links.extend(seen.map(|it| it.index));
    }
    if links.len() < WORTH_IT {
        return Ok(());
    }
    let marks: Vec<Act> = links.iter().map(|index| mark(*index)).collect();
    talk.act(&marks)?;
    if in_group(talk)? != links {
        return Ok(());
    }
    let mut group = LinkMessage::default();
    group.attributes.push(LinkAttribute::Group(GOING));
    let gone = talk.act_one(Act::change(Message::DelLink(group)))?;
    gone.map_err(Trouble::Refused)
}

fn mark(index: u32) -> Act {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.push(LinkAttribute::Group(GOING));
    Act::change(Message::SetLink(link))
}

/// Who is in the group: nobody else may be.
fn in_group(talk: &mut Talk) -> Result<BTreeSet<u32>, Trouble> {
    let mut request = LinkMessage::default();
    let mask = vec![LinkExtentMask::SkipStats];
    request.attributes.push(LinkAttribute::ExtMask(mask));
    let all = talk.dump(&Message::GetLink(request))?;
    let going = all.into_iter().filter_map(|it| match it {
        Message::NewLink(link) => {
            let group = LinkAttribute::Group(GOING);
            link.attributes
                .contains(&group)
                .then_some(link.header.index)
        }
        _ => None,
    });
    Ok(going.collect())
}

#[cfg(test)]
mod tests {
    use net_model::{Cidr, Family, Rule};
    use proptest::prelude::*;

    use super::*;

    fn name(number: u8) -> IfName {
        IfName::new(&format!("l{number}")).expect("a name")
    }

    fn step(kind: u8, number: u8) -> Step {
        let link = name(number);
        match kind {
            0 | 1 => Step::DeleteLink { name: link },
            2 => Step::SetMtu { link, mtu: 1500 },
            3 => Step::SetUp { link },
            4 => Step::ClearMaster { link },
            _ => Step::RemoveRule {
                rule: Rule {
                    table: 7,
                    priority: 1,
                    family: Family::V4,
                    from: None::<Cidr>,
                    to: None,
                    protocol: 118,
                    more: false,
                },
            },
        }
    }

    proptest! {
        #[test]
        fn parts_are_all_steps_in_order(kinds in prop::collection::vec((0_u8..6, 0_u8..4), 0..30)) {
            let steps: Vec<Step> = kinds.into_iter().map(|(kind, number)| step(kind, number)).collect();
            let steps: Vec<&Step> = steps.iter().collect();
            let fixed = name(3);
            let parts = split(&steps, &[&fixed].into());
            let places: Vec<usize> = parts.iter().flat_map(Part::places).collect();
            prop_assert_eq!(places, (0..steps.len()).collect::<Vec<_>>());
            for part in parts {
                let Part::Removals(places) = part else { continue };
                let mut gone = BTreeSet::new();
                for place in places {
                    let step = steps[place];
                    let takes = !matches!(step, Step::SetUp { .. });
                    prop_assert!(takes && deleted(step) != Some(&fixed));
                    if let Some(link) = step.device() {
                        prop_assert!(!gone.contains(link), "a step on a link that has gone");
                    }
                    gone.extend(deleted(step));
                }
            }
        }
    }

    #[test]
    fn one_link_goes_alone() {
        let steps = [
            step(0, 1),
            step(5, 0),
            step(3, 2),
            step(0, 3),
            step(2, 4),
            step(0, 2),
        ];
        let steps: Vec<&Step> = steps.iter().collect();
        assert_eq!(
            split(&steps, &BTreeSet::new()),
            [Part::Others(0..3), Part::Removals(3..6)]
        );
    }
}
