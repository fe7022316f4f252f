//! Plans and reports, for people and as JSON.

use net_model::{Plan, Planned, Step};
use privileged::{NetworkOutcome, Restored};
use serde_json::{Value, json};

/// A plan as JSON: in the shape of a dry run of `Host.setupNetworks`, with the model's own result.
pub(super) fn plan(plan: &Plan) -> Value {
    json!({
        "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
        "plan": plan.to_string(),
        "result": plan.result,
    })
}

fn step(planned: &Planned) -> Value {
    let signed = |step: &Step| format!("{} {step}", step.sign());
    json!({
        "stage": planned.stage.to_string(),
        "network": planned.network,
        "sign": planned.step.sign().to_string(),
        "step": planned.step.to_string(),
        "undo": planned.undo.iter().map(signed).collect::<Vec<_>>(),
    })
}

/// What a restoration did, a line a network.
pub(super) fn restored(restored: &Restored) -> Vec<String> {
    if restored.already {
        return vec!["restored already since the host started; --force does it again".to_owned()];
    }
    let mut lines: Vec<String> = restored
        .networks
        .iter()
        .map(|(name, outcome)| match outcome {
            NetworkOutcome::Unchanged {} => format!("{name}: unchanged"),
            NetworkOutcome::Restored { steps } => format!("{name}: restored, {steps} steps"),
            NetworkOutcome::Removed {} => format!("{name}: removed"),
            NetworkOutcome::Failed(trouble) => {
                format!("{name}: FAILED: {} (code {})", trouble.why, trouble.code)
            }
        })
        .collect();
    lines.extend(restored.others.iter().map(|it| format!("left out: {it}")));
    lines
}

/// The names of what is not as it should be.
pub(super) fn failed(restored: &Restored) -> Vec<String> {
    let networks = restored.networks.iter();
    let networks = networks
        .filter(|(_, it)| matches!(it, NetworkOutcome::Failed(_)))
        .map(|(name, _)| name.to_string());
    let others = restored.others.iter().map(|it| it.subject.clone());
    networks.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use net_model::NetName;
    use privileged::Trouble;

    use super::*;

    #[test]
    fn a_report_names_what_failed() {
        let name = |text: &str| NetName::new(text).unwrap();
        let trouble = |subject: &str| Trouble {
            subject: subject.to_owned(),
            code: 23,
            why: "Nic eth9 does not exist".to_owned(),
        };
        let report = Restored {
            networks: [
                (name("a"), NetworkOutcome::Unchanged {}),
                (name("b"), NetworkOutcome::Restored { steps: 4 }),
                (name("c"), NetworkOutcome::Failed(trouble("c"))),
                (name("d"), NetworkOutcome::Removed {}),
            ]
            .into(),
            others: vec![trouble("bond0")],
            ..Restored::default()
        };
        assert_eq!(
            restored(&report),
            [
                "a: unchanged",
                "b: restored, 4 steps",
                "c: FAILED: Nic eth9 does not exist (code 23)",
                "d: removed",
                "left out: bond0: Nic eth9 does not exist (code 23)",
            ]
        );
        assert_eq!(failed(&report), ["c", "bond0"]);
    }
}
