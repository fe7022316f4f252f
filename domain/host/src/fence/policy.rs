//! May the power be touched? A table of rules, read from above; the first that holds decides.
//!
//! | rule | verdict |
//! |---|---|
//! | the action only looks | fence |
//! | no policy was sent | fence |
//! | a lease of the host is live in some domain | skip |
//! | the policy depends on Gluster | refuse |
//! | none of the above | fence |
//!
//! A lease that is not known counts as not live, as upstream's: a host whose storage nobody sees must still be
//! fenced. Gluster's rules are different from upstream's, which fences although it could not check them: there is
//! no Gluster here, so the answer is an error, and Engine asks a host that knows.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::FenceAction;

/// When not to fence, as Engine says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FencePolicy {
    /// Host id of the host in each domain: not while it renews its lease in any of them.
    pub host_ids: BTreeMap<Uuid, i32>,
    /// Not while a brick of it is up.
    pub skip_if_bricks_up: bool,
    /// Not if a volume would lose its quorum.
    pub skip_if_quorum_breaks: bool,
}

/// The lease of a host in a domain. Upstream's words; the times are those of sanlock's default I/O timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It cannot be told: the domain is not watched here, or the lock manager does not answer.
    Unavailable,
    /// There is one, and not yet known whether it is renewed.
    Unknown,
    /// The host has none.
    Free,
    /// Renewed within the last 80 s.
    Live,
    /// Not renewed for 80 s.
    Fail,
    /// Not renewed for 140 s.
    Dead,
}

/// What the table says, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Fence(&'static str),
    /// Leave the power alone; that is what the policy is for.
    Skip(&'static str),
    /// Leave the power alone; the policy cannot be checked.
    Refuse(&'static str),
}

struct Case<'a> {
    action: FenceAction,
    policy: Option<&'a FencePolicy>,
    leases: &'a [Lease],
}

type Rule = (fn(&Case<'_>) -> bool, Verdict);

const RULES: [Rule; 4] = [
    (
        |case| case.action == FenceAction::Status,
        Verdict::Fence("the action only looks"),
    ),
    (
        |case| case.policy.is_none(),
        Verdict::Fence("there is no policy"),
    ),
    (
        |case| case.leases.contains(&Lease::Live),
        Verdict::Skip("it renews its lease"),
    ),
    (
        |case| case.policy.is_some_and(FencePolicy::needs_gluster),
        Verdict::Refuse("Gluster is not known here"),
    ),
];

const OTHERWISE: Verdict = Verdict::Fence("nothing holds it back");

impl FencePolicy {
    fn needs_gluster(&self) -> bool {
        self.skip_if_bricks_up || self.skip_if_quorum_breaks
    }
}

/// The leases that have to be known for a decision: domain and host id.
pub fn leases_needed(
    action: FenceAction,
    policy: Option<&FencePolicy>,
) -> impl Iterator<Item = (Uuid, i32)> {
    policy
        .filter(|_| action != FenceAction::Status)
        .into_iter()
        .flat_map(|policy| policy.host_ids.iter().map(|(domain, id)| (*domain, *id)))
}

/// Decides. `leases` are those of [`leases_needed`], in any order.
pub fn decide(action: FenceAction, policy: Option<&FencePolicy>, leases: &[Lease]) -> Verdict {
    let case = Case {
        action,
        policy,
        leases,
    };
    RULES
        .iter()
        .find(|(holds, _)| holds(&case))
        .map_or(OTHERWISE, |(_, verdict)| *verdict)
}
