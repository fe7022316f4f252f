//! `Host.fenceNode`.

use host::fence::{FenceAction, FenceAnswer, FencePolicy, FenceRequest, Power, Sealed};
use schema::{
    CallContext,
    host::fence::{
        FenceAction as WireAction, FenceApi, FenceNode, FenceOutcome, FenceReport, FencingPolicy,
        PowerState,
    },
};

use super::Answer;
use crate::{agent::Agent, errors};

impl FenceApi for Agent {
    fn fence_node(&self, _: &CallContext, p: FenceNode) -> Answer<FenceReport> {
        let request = FenceRequest {
            address: p.address,
            port: p.port.map(i64::from),
            agent: p.agent,
            username: p.username,
            password: Sealed::new(p.password.expose()),
            action: action_of(p.action),
            secure: p.secure,
            options: Sealed::new(p.options.expose()),
            policy: p.policy.map(policy_of),
        };
        let answer = self.fencer.fence(request).map_err(errors::fence)?;
        Ok(report(answer))
    }
}

fn action_of(action: WireAction) -> FenceAction {
    match action {
        WireAction::Status => FenceAction::Status,
        WireAction::On => FenceAction::On,
        WireAction::Off => FenceAction::Off,
        WireAction::Reboot => FenceAction::Reboot,
    }
}

fn policy_of(policy: FencingPolicy) -> FencePolicy {
    FencePolicy {
        host_ids: policy.host_ids.unwrap_or_default(),
        skip_if_bricks_up: policy.skip_if_bricks_up.unwrap_or_default(),
        skip_if_quorum_breaks: policy.skip_if_quorum_breaks.unwrap_or_default(),
    }
}

/// The keys that upstream answers in each case.
fn report(answer: FenceAnswer) -> FenceReport {
    let power = |power| FenceReport {
        power: Some(power),
        operation_status: None,
    };
    match answer {
        FenceAnswer::Power(Power::On) => power(PowerState::On),
        FenceAnswer::Power(Power::Off) => power(PowerState::Off),
        FenceAnswer::Initiated => FenceReport {
            power: Some(PowerState::Unknown),
            operation_status: Some(FenceOutcome::Initiated),
        },
        FenceAnswer::Skipped => FenceReport {
            power: None,
            operation_status: Some(FenceOutcome::Skipped),
        },
    }
}
