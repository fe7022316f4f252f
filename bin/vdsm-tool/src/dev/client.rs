//! How `vdsm-client` is told to reach a private agent.

use std::path::PathBuf;

use anyhow::Result;
use exec::Command;

use super::{Agent, layout};

/// The program and its first arguments.
#[derive(Debug, Clone)]
pub(crate) struct ClientLine {
    program: PathBuf,
    args: Vec<String>,
}

impl ClientLine {
    /// The line for an agent.
    pub(crate) fn of(agent: &Agent) -> Result<Self> {
        Ok(Self {
            program: layout::sibling("vdsm-client")?,
            args: arguments(agent),
        })
    }

    /// A command, to which namespace, verb and parameters are added.
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.program).args(&self.args)
    }
}

/// The arguments that say where the agent is.
fn arguments(agent: &Agent) -> Vec<String> {
    let mut args = vec![
        "-a".to_owned(),
        agent.address.clone(),
        "-p".to_owned(),
        agent.port.to_string(),
    ];
    let files = [
        ("--ca", &agent.ca),
        ("--cert", &agent.cert),
        ("--key", &agent.key),
    ];
    let files: Vec<_> = files
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_ref()?)))
        .collect();
    if files.is_empty() {
        args.push("--insecure".to_owned());
    }
    for (flag, path) in files {
        args.push(flag.to_owned());
        args.push(path.display().to_string());
    }
    args
}

/// A line to type.
pub(crate) fn to_type(agent: &Agent) -> String {
    let program = layout::sibling("vdsm-client").unwrap_or_else(|_| PathBuf::from("vdsm-client"));
    format!(
        "{} {} Host ping2",
        program.display(),
        arguments(agent).join(" ")
    )
}
