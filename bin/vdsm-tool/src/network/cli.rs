//! What can be asked for about networks on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// How the root helper is reached, and where files are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reach {
    /// Socket of supervdsmd, instead of the configuration's
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Seconds that the helper may take
    #[arg(long, default_value = "300", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// The host beneath this folder instead of this one
    #[arg(long, default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// `net-plan`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
FILE holds the parameters of Host.setupNetworks, {\"networks\": {...}, \"bondings\": {...}, \"options\": {...}}, or a \
whole JSON-RPC request of it; - is standard input. Nothing changes, whatever it holds.

Exit codes: 0 planned; 1 the request is refused, or cannot be planned; with --exit-code 3 if there is something to do.")]
pub(crate) struct PlanArgs {
    /// The request, JSON; - for standard input
    pub(crate) file: PathBuf,
    /// Plan in this process, without supervdsmd: DHCP clients and shaping that run are not seen
    #[arg(long)]
    pub(crate) offline: bool,
    /// End with exit code 3 if there is something to do
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `net-rollback`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Ten generations of each set are kept. What the chosen one held becomes the newest of both sets. The change is made as \
any other: all of it, or nothing; if this process dies before the end, it is undone.")]
pub(crate) struct RollbackArgs {
    /// Only list the generations
    #[arg(long, conflicts_with_all = ["to", "dry_run", "confirm_within"])]
    pub(crate) list: bool,
    /// Generation to go back to, as --list numbers them (default: the one before that in force)
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Whose generations: the persistent set is what a boot restores, the running one what was set up last
    #[arg(long, value_enum, default_value_t = Set::Persistent)]
    pub(crate) set: Set,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Ask on the terminal when the change is made, and undo it unless the answer is yes within so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) confirm_within: Option<Duration>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `restore-nets`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What differs from the persistent set is changed, and nothing else; the network with the default route is touched last \
and is back first. A network that cannot be is told, and neither delays nor fails the others.

Exit codes: 0 all networks are as they should be; 1 some are not (they are named), or nothing could be done.")]
pub(crate) struct RestoreArgs {
    /// Also if it was done since the host started
    #[arg(long)]
    pub(crate) force: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `net-state`.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// One of the two sets of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Set {
    /// What a boot restores
    Persistent,
    /// What was set up last
    Running,
}

/// The helper takes no longer than ten minutes.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("not a number of seconds from 1 to 600".to_owned()),
    }
}
