//! `vdsm-tool`: the host made ready for the agent, its networks from a shell, private agents for development,
//! certificates, `vdsm.conf`, the demo.
//!
//! A private agent is a `vdsmd` with a libvirt daemon of its own, everything beneath one folder and nothing
//! of the machine's own services touched. Programs are started through the crate `exec` alone.
//!
//! Look next: `cli.rs` (what can be asked for), `dev/` (starting, ending and finding private agents),
//! `configure/` (the host), `network/` (its networks),
//! `certs.rs` (certificates), `settings.rs` (`vdsm.conf`), `demo/` (the demo, which talks to an agent through `vdsm-client` only).
#![forbid(unsafe_code)]

mod certs;
mod cli;
mod configure;
mod demo;
mod dev;
mod interrupt;
mod network;
mod output;
mod settings;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::cli::{Cli, Command, DevCommand};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::problem(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let done = match cli.command {
        // These have exit codes of their own.
        Command::ConfigLvmFilter(args) => return configure::lvm_filter(&args),
        Command::NetPlan(args) => return network::plan(&args),
        Command::NetRollback(args) => return network::rollback(&args),
        Command::NetState(args) => return network::state(&args),
        Command::RestoreNets(args) => return network::restore(&args),
        Command::Dev(dev) => match dev.command {
            DevCommand::Up(args) => dev::up(&args),
            DevCommand::Down(args) => dev::down(&args),
            DevCommand::Status(args) => dev::status(&args),
        },
        Command::Config(args) => settings::run(&args),
        Command::Certs(args) => certs::command(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Configure(args) => configure::configure(&args),
        Command::IsConfigured(args) => configure::is_configured(&args),
        Command::ValidateConfig(args) => configure::validate(&args),
        Command::RemoveConfig(args) => configure::remove(&args),
        Command::Completion(args) => cli::completion(args.shell),
        Command::Man => cli::man(),
    };
    done.map(|()| ExitCode::SUCCESS)
}
