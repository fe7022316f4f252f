//! `vdsm-tool net-state`: what the root helper knows about networks: a pending change, the last restoration, clients.

use std::process::ExitCode;

use anyhow::Result;
use privileged::{NetworkState, Recovered};
use serde_json::json;

use super::{StateArgs, explained, show};
use crate::output;

/// Runs it.
pub(crate) fn state(args: &StateArgs) -> Result<ExitCode> {
    let state = args.reach.client()?.network_state().map_err(explained)?;
    if args.reach.json {
        output::line(&json!(state).to_string());
    } else {
        for line in lines(&state) {
            output::line(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(state: &NetworkState) -> Vec<String> {
    let mut lines = vec![match &state.pending {
        None => "no change is under way".to_owned(),
        Some(it) => format!(
            "a change is under way: {:?}, {} steps, for {} ms, asked by process {}",
            it.stage,
            it.steps,
            it.since_ms,
            it.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string())
        ),
    }];
    match &state.recovered {
        None => {}
        Some(Recovered::Undone { steps }) => lines.push(format!(
            "a change was cut off and undone ({steps} steps): the networks are as before it"
        )),
        Some(Recovered::Finished {}) => {
            lines.push("a change was cut off after it was confirmed: it is stored".to_owned());
        }
        Some(Recovered::Left { what }) => {
            lines.push("a change was cut off; of it could not be undone:".to_owned());
            lines.extend(what.iter().map(|it| format!("  {it}")));
        }
    }
    if let Some(restored) = &state.restored {
        lines.push("the last restoration:".to_owned());
        let told = show::restored(restored).into_iter();
        lines.extend(told.map(|it| format!("  {it}")));
    }
    for (link, clients) in &state.clients {
        for client in clients {
            lines.push(format!("DHCP on {link}: {}", client.family));
        }
    }
    for (network, table) in state.tables.all() {
        lines.push(format!("routing table of {network}: {table}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use privileged::{Pending, PendingStage};

    use super::*;

    #[test]
    fn what_is_under_way_is_told_first() {
        let mut state = NetworkState::default();
        assert_eq!(lines(&state), ["no change is under way"]);
        state.pending = Some(Pending {
            stage: PendingStage::Unconfirmed,
            since_ms: 12,
            pid: Some(7),
            steps: 3,
        });
        state.recovered = Some(Recovered::Left {
            what: vec!["address 192.0.2.1/24 of eth0".to_owned()],
        });
        let told = lines(&state).join("\n");
        assert!(told.starts_with("a change is under way: Unconfirmed, 3 steps"));
        assert!(told.contains("could not be undone:\n  address 192.0.2.1/24"));
    }
}
