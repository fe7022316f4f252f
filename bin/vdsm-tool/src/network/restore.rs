//! `vdsm-tool restore-nets`: the networks as the persistent set has them, at boot and whenever asked.

use std::process::ExitCode;

use anyhow::{Result, bail};
use net_model::restore::restoration;
use privileged::{Millis, NetworkRestore};
use serde_json::json;

use super::{RestoreArgs, explained, planned_here, set_at, show};
use crate::output;

/// Runs it.
pub(crate) fn restore(args: &RestoreArgs) -> Result<ExitCode> {
    if args.dry_run {
        return show_plan(args);
    }
    let request = NetworkRestore {
        force: args.force,
        deadline_ms: Millis::of(args.reach.timeout),
    };
    let restored = args.reach.client()?.network_restore(request);
    let restored = restored.map_err(explained)?;
    if args.reach.json {
        output::line(&json!(restored).to_string());
    } else {
        for line in show::restored(&restored) {
            output::line(&line);
        }
    }
    if restored.is_whole() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("not restored: {}", show::failed(&restored).join(", "))
}

fn show_plan(args: &RestoreArgs) -> Result<ExitCode> {
    let reach = &args.reach;
    let state = reach.client()?.network_state().map_err(explained)?;
    let files = reach.files()?;
    let (persistent, running) = (set_at(&files.persistent)?, set_at(&files.running)?);
    let current = reach.current_with(&state)?;
    let restoration = restoration(&persistent, &running, &current);
    for (name, why) in &restoration.left_out {
        output::note(&format!("left out: {name}: {why} (code {})", why.code()));
    }
    let plan = planned_here(&current, &restoration.desired, state.tables)?;
    if reach.json {
        output::line(&show::plan(&plan).to_string());
    } else {
        output::line(plan.to_string().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
