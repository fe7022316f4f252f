//! `vdsm-tool net-plan`: what a request would do to this host.

use std::process::ExitCode;

use anyhow::Result;
use net_model::{Plan, Tables};

use super::{PlanArgs, explained, planned_here, refused, request, set_at, show};
use crate::output;

/// Exit code for "there is something to do", if one is asked for; 2 is that of a wrong command line.
const SOMETHING_TO_DO: u8 = 3;

/// Runs it.
pub(crate) fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let plan = made(args)?;
    if args.reach.json {
        output::line(&show::plan(&plan).to_string());
    } else {
        output::line(plan.to_string().trim_end());
    }
    Ok(if args.exit_code && !plan.is_empty() {
        ExitCode::from(SOMETHING_TO_DO)
    } else {
        ExitCode::SUCCESS
    })
}

fn made(args: &PlanArgs) -> Result<Plan> {
    let request = request::read(&args.file)?;
    for key in request.strangers() {
        output::note(&format!(
            "{key} is not known: it would be kept in the files and have no effect"
        ));
    }
    let running = set_at(&args.reach.files()?.running)?;
    let current = args.reach.current()?;
    let desired = net_model::canonicalize(&request, &running, &current).map_err(refused)?;
    if args.offline {
        return planned_here(&current, &desired, Tables::default());
    }
    args.reach
        .client()?
        .network_plan(desired)
        .map_err(explained)
}
