//! What of a private agent runs.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::{ClientLine, Layout, record::Record, up};
use crate::{
    cli::{Format, StatusArgs},
    output,
};

/// `dev status`: an error (exit code 1) unless the agent answers.
pub(crate) fn status(args: &StatusArgs) -> Result<()> {
    let layout = Layout::new(&args.dir)?;
    let Some(record) = Record::load(&layout)? else {
        bail!("no agent runs beneath {}", layout.dir.display());
    };
    let agent = up::agent(&layout, &record);
    let answers = record.vdsmd_runs() && {
        let ping = ClientLine::of(&agent)?.command().args(["Host", "ping2"]);
        ping.timeout(Duration::from_secs(10)).run()?.exit.success()
    };
    match args.output {
        Format::Json => output::line(&serde_json::to_string_pretty(&json!({
            "vdsmd": record.vdsmd_runs(),
            "libvirt": record.libvirt_runs(),
            "answers": answers,
            "agent": agent,
        }))?),
        Format::Text => {
            let word = |yes: bool| if yes { "runs" } else { "does not run" };
            output::line(&format!("vdsmd    {}", word(record.vdsmd_runs())));
            let libvirt = if record.libvirt.is_some() {
                word(record.libvirt_runs())
            } else {
                "not ours"
            };
            output::line(&format!("libvirt  {libvirt}"));
            output::line(&format!("answers  {}", if answers { "yes" } else { "no" }));
            agent.describe().iter().for_each(|line| output::line(line));
        }
    }
    if answers {
        Ok(())
    } else {
        bail!("the agent does not answer")
    }
}
