//! From the addresses that an interface has to those that it shall have, by the fewest removals.
//!
//! In IPv4 the order means something: the first of a subnet is its primary address, and goes with its
//! secondaries; primaries stand before secondaries (`inet_insert_ifa`). In IPv6 the kernel keeps no order.

use std::collections::BTreeSet;

use crate::{Cidr, Family};

/// What to remove, then what to add, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) remove: Vec<Cidr>,
    pub(crate) add: Vec<Cidr>,
}

/// From `now` to `wanted`, both of any family.
pub(crate) fn change(now: &[Cidr], wanted: &[Cidr]) -> Change {
    let of = |list: &[Cidr], family| -> Vec<Cidr> {
        let its = list.iter().copied();
        its.filter(|it| it.family() == family).collect()
    };
    let four = change_v4(&of(now, Family::V4), &of(wanted, Family::V4));
    let six = change_by(
        &of(now, Family::V6),
        &of(wanted, Family::V6),
        &of(wanted, Family::V6).into_iter().collect(),
    );
    Change {
        remove: [four.remove, six.remove].concat(),
        add: [four.add, six.add].concat(),
    }
}

/// Where the kernel puts a new address: a primary after the last primary, all else at the end.
pub(crate) fn place_of(now: &[Cidr], new: Cidr) -> usize {
    let four = |it: &&Cidr| it.family() == Family::V4;
    let secondary = now.iter().any(|it| it.network() == new.network());
    if new.family() == Family::V6 || secondary {
        return now.len();
    }
    let (primaries, _) = ranks(&now.iter().filter(four).copied().collect::<Vec<_>>());
    let last = primaries.last();
    let after = last.and_then(|last| now.iter().position(|it| it == last));
    after.map_or(0, |at| at + 1)
}

fn change_by(now: &[Cidr], wanted: &[Cidr], keep: &BTreeSet<Cidr>) -> Change {
    let kept: BTreeSet<Cidr> = now.iter().filter(|it| keep.contains(it)).copied().collect();
    Change {
        remove: now
            .iter()
            .rev()
            .filter(|it| !kept.contains(it))
            .copied()
            .collect(),
        add: wanted
            .iter()
            .filter(|it| !kept.contains(it))
            .copied()
            .collect(),
    }
}

fn change_v4(now: &[Cidr], wanted: &[Cidr]) -> Change {
    let wanted = without_twins(wanted);
    let (now_first, now_second) = ranks(now);
    let (want_first, want_second) = ranks(&wanted);
    let mut keep: BTreeSet<Cidr> = common_start(&now_first, &want_first);
    keep.extend(common_start(&now_second, &want_second));
    loop {
        let kept = keep.len();
        for primaries in [&now_first, &want_first] {
            drop_secondaries(primaries, &mut keep);
        }
        for ranked in [&want_first, &want_second] {
            drop_late(ranked, &mut keep);
        }
        if keep.len() == kept {
            return change_by(now, &wanted, &keep);
        }
    }
}

/// A primary that goes takes its secondaries along.
fn drop_secondaries(primaries: &[Cidr], keep: &mut BTreeSet<Cidr>) {
    let gone = primaries.iter().filter(|it| !keep.contains(it));
    let gone: BTreeSet<Cidr> = gone.map(|it| it.network()).collect();
    keep.retain(|it| !gone.contains(&it.network()));
}

/// What is removed comes back behind what stays: so must all that shall stand behind it.
fn drop_late(ranked: &[Cidr], keep: &mut BTreeSet<Cidr>) {
    let lost = ranked.iter().position(|it| !keep.contains(it));
    for late in ranked.iter().skip(lost.unwrap_or(ranked.len())) {
        keep.remove(late);
    }
}

fn without_twins(list: &[Cidr]) -> Vec<Cidr> {
    let mut seen = BTreeSet::new();
    list.iter()
        .filter(|it| seen.insert(**it))
        .copied()
        .collect()
}

/// Primaries and secondaries, each in order.
fn ranks(list: &[Cidr]) -> (Vec<Cidr>, Vec<Cidr>) {
    let mut networks = BTreeSet::new();
    list.iter().partition(|it| networks.insert(it.network()))
}

/// The start of `wanted` that `now` has in this order, disregarding what nobody wants.
fn common_start(now: &[Cidr], wanted: &[Cidr]) -> BTreeSet<Cidr> {
    let known = now.iter().filter(|it| wanted.contains(it));
    let pairs = known.zip(wanted).take_while(|(a, b)| a == b);
    pairs.map(|(it, _)| *it).collect()
}
