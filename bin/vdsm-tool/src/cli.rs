//! What can be asked for on the command line.

use std::{io, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::{configure::Module, network};

/// The host made ready, its networks, private agents for development, certificates, vdsm.conf, and the demo.
#[derive(Debug, Parser)]
#[command(name = "vdsm-tool", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Private agents: a vdsmd with its own libvirt daemon, all beneath one folder
    Dev(Dev),
    /// vdsm.conf: its documented default, and what is wrong with a file
    Config(Config),
    /// Make a certificate authority with one server and one client certificate, as oVirt hosts have them
    Certs(CertsArgs),
    /// Show the agent end to end: storage, a virtual machine from its disk, statistics, and the way back
    Demo(DemoArgs),
    /// Tell other programs of this host (libvirt, sanlock, multipath, LVM) what the agent needs of them
    Configure(ConfigureArgs),
    /// Tell whether that has been done (exit code 1 if not)
    IsConfigured(StateArgs),
    /// Tell whether the agent can start with its configuration (exit code 1 if not)
    ValidateConfig(StateArgs),
    /// Take back what configure changed in other programs' configuration
    RemoveConfig(RemoveArgs),
    /// Let LVM look at the host's own devices only (configure --module lvm-devices, by the name that hosts' set-up knows)
    ConfigLvmFilter(LvmFilterArgs),
    /// Show what a request to set up networks would do to this host, and change nothing
    NetPlan(network::PlanArgs),
    /// Take the networks back to an older generation of their files
    NetRollback(network::RollbackArgs),
    /// Tell what the root helper knows about networks: a pending change, the last restoration, DHCP clients
    NetState(network::StateArgs),
    /// Bring the networks back as they were made safe, as a boot does
    RestoreNets(network::RestoreArgs),
    /// Print a completion script
    Completion(CompletionArgs),
    /// Print the manual page
    Man,
}

/// `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(subcommand)]
    pub(crate) command: DevCommand,
}

/// Subcommands of `dev`.
#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Start a private agent in the background and tell how to reach it
    Up(UpArgs),
    /// End a private agent, its virtual machines and its libvirt daemon
    Down(DownArgs),
    /// Tell what of a private agent runs (exit code 1 if it does not answer)
    Status(StatusArgs),
}

/// `dev up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// Folder for everything; made if it is not there. Short: sockets lie beneath it
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Port of the agent on 127.0.0.1; 0 takes one that is free
    #[arg(long, default_value_t = 54321)]
    pub(crate) port: u16,
    /// No TLS: whoever reaches the port commands the agent
    #[arg(long)]
    pub(crate) plain: bool,
    /// How guests run; auto tries KVM with a few bytes and falls back to software
    #[arg(long, value_enum, default_value_t = Accelerator::Auto)]
    pub(crate) accelerator: Accelerator,
    /// Use this libvirt instead of starting a private one
    #[arg(long, value_name = "URI")]
    pub(crate) libvirt_uri: Option<String>,
    /// Whom it runs as when started by root (default: vdsm if there is such a user, else nobody)
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The vdsmd to start (default: the one beside this program, else the installed one)
    #[arg(long, value_name = "PATH")]
    pub(crate) vdsmd: Option<PathBuf>,
    /// Seconds until it must answer
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// `dev down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Folder of the private agent
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Remove the folder as well, with all that is in it
    #[arg(long)]
    pub(crate) remove: bool,
}

/// `dev status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Folder of the private agent
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// `config`.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// Subcommands of `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every option with its meaning, what is allowed, and its default
    Default,
    /// Tell what is wrong with a file (exit code 1) and what in it has no effect
    Check(CheckArgs),
}

/// `config check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The file, read alone
    pub(crate) file: PathBuf,
}

/// `certs`.
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    /// Folder for the files, laid out as vdsmd's trust_store_path; certificates that are there are kept
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Name (CN) of the server
    #[arg(long, default_value = "localhost")]
    pub(crate) name: String,
    /// Organization (O) in all certificates
    #[arg(long, default_value = "vdsm-rs.test")]
    pub(crate) organization: String,
}

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Disk image of the guest, raw (demo/guest/build.sh makes one)
    #[arg(long, value_name = "FILE")]
    pub(crate) guest_image: PathBuf,
    /// Where the screenshot of the guest's console is saved
    #[arg(long, value_name = "FILE", default_value = "vdsm-demo.png")]
    pub(crate) screenshot: PathBuf,
    /// Keep the folder with all files afterwards (the processes end)
    #[arg(long)]
    pub(crate) keep: bool,
    /// How the guest runs
    #[arg(long, value_enum, default_value_t = Accelerator::Auto)]
    pub(crate) accelerator: Accelerator,
}

/// What is configured, and how it is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Only this; may be given several times. Without it: all whose programs are installed
    #[arg(long, value_enum, value_name = "MODULE")]
    pub(crate) module: Vec<Module>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Say nothing but what goes wrong, and do not mind what is not installed
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The host beneath this folder instead of this one
    #[arg(long, default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
}

/// `configure`.
#[derive(Debug, Args)]
pub(crate) struct ConfigureArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Restart or reload what runs and must learn of a change
    #[arg(long)]
    pub(crate) force: bool,
}

/// `config-lvm-filter`.
#[derive(Debug, Args)]
pub(crate) struct LvmFilterArgs {
    /// Do it; else only show what would change (exit code 4 if there is something)
    #[arg(short = 'y', long)]
    pub(crate) assume_yes: bool,
}

/// `remove-config`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `is-configured` and `validate-config`.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Only this; may be given several times
    #[arg(long, value_enum, value_name = "MODULE")]
    pub(crate) module: Vec<Module>,
    /// The host beneath this folder instead of this one
    #[arg(long, default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
}

/// `completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// Shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `[vars] accelerator` of vdsm.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// KVM if it truly works, else software
    Auto,
    /// KVM or nothing
    Kvm,
    /// Software
    Tcg,
}

impl Accelerator {
    /// As vdsm.conf says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("not a number of seconds from 1 to 3600".to_owned()),
    }
}

/// Prints a completion script.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same form as the other subcommands"
)]
pub(crate) fn completion(shell: clap_complete::Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Cli::command(), "vdsm-tool", &mut io::stdout());
    Ok(())
}

/// Prints the manual page: the tool and, after it, each subcommand.
pub(crate) fn man() -> Result<()> {
    let mut command = Cli::command();
    command.build();
    render(&command, &mut io::stdout())
}

fn render(command: &clap::Command, out: &mut impl io::Write) -> Result<()> {
    clap_mangen::Man::new(command.clone()).render(out)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        render(sub, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn up_has_the_documented_defaults() {
        let cli = Cli::parse_from(["vdsm-tool", "dev", "up", "--dir", "/tmp/x"]);
        let Command::Dev(Dev {
            command: DevCommand::Up(up),
        }) = cli.command
        else {
            panic!("not dev up")
        };
        assert_eq!(
            (up.port, up.plain, up.accelerator),
            (54321, false, Accelerator::Auto)
        );
        assert_eq!(up.timeout, Duration::from_mins(1));
        assert!(
            Cli::try_parse_from(["vdsm-tool", "dev", "up", "--dir", "/x", "--timeout", "0"])
                .is_err()
        );
    }

    #[test]
    fn the_manual_names_every_subcommand() {
        let mut text = Vec::new();
        let mut command = Cli::command();
        command.build();
        render(&command, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for word in ["trust_store_path", "private agent", "screenshot"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
