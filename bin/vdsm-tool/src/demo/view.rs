//! How the demo looks: plain text, one line a verb; passing lines only on a terminal.

use std::{path::Path, time::Duration};

use super::{Home, flow::Summary};
use crate::{
    cli::DemoArgs,
    dev::{Agent, Ended},
    output,
};

/// Width of the column of verbs.
const VERB: usize = 38;

/// Lines of the agent's log that are shown after a failure.
const LOG_LINES: usize = 40;

/// The first lines.
pub(crate) fn headline(home: &Home, args: &DemoArgs, image: u64) {
    output::line("vdsm-rs: the first virtual machine");
    output::line(&format!(
        "everything beneath {}{}; guest image {} ({} MiB)",
        home.dir().display(),
        if args.keep {
            " (kept)"
        } else {
            ", removed at the end"
        },
        args.guest_image.file_name().unwrap_or_default().display(),
        image >> 20
    ));
}

/// A part begins.
pub(crate) fn part(title: &str) {
    output::clear_passing();
    output::line("");
    output::line(title);
}

/// Something happened.
pub(crate) fn said(text: &str) {
    output::clear_passing();
    output::line(&format!("  {text}"));
}

/// Something goes on.
pub(crate) fn going_on(text: &str) {
    output::passing(&format!("  {text}"));
}

/// How the agent can be reached.
pub(crate) fn agent(agent: &Agent) {
    said(&format!(
        "reachable at {} port {} with TLS, for clients with a certificate of its authority",
        agent.address, agent.port
    ));
    said(&format!("libvirt: {}", agent.libvirt_uri));
}

/// A verb is on its way.
pub(crate) fn calling(verb: &str) {
    going_on(&format!("{verb} ..."));
}

/// A verb was answered.
pub(crate) fn called(verb: &str, time: Duration, told: &str) {
    let line = format!("{verb:<VERB$} {:>6} ms  {told}", time.as_millis());
    said(line.trim_end());
}

/// A line of a table.
pub(crate) fn row(text: &str) {
    said(&format!("  {text}"));
}

/// The end of the agent's log, when something went wrong.
pub(crate) fn logs(path: &Path) {
    output::clear_passing();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    output::note(&format!("\nend of {}:", path.display()));
    for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
        output::note(&format!("  {line}"));
    }
}

/// What was ended.
pub(crate) fn ended(ended: &Ended, keep: bool) {
    said(&ended.to_string());
    if keep {
        said("the files are kept");
    }
}

/// The last lines.
pub(crate) fn summary(summary: &Summary, total: Duration) {
    part("Summary");
    for line in summary.lines() {
        said(&line);
    }
    said(&format!(
        "the demo took {:.1} s: all went well",
        total.as_secs_f64()
    ));
}
