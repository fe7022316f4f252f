//! Private agents: a `vdsmd` and a libvirt daemon of its own, both beneath one folder.
//!
//! States of a folder: empty; starting (a record is there, not all processes); up; down (files only).
//! One command at a time works on a folder: each holds its lock. What runs is remembered in a record
//! (process id and start time, so that a reused number is never mistaken); what no record knows, because
//! something was killed in between, is found by its environment, which names the folder.
//!
//! Look next: `layout.rs` (what is where), `account.rs` (as whom it runs), `record.rs`, `up.rs`, `down.rs`,
//! `status.rs`.

mod account;
mod client;
mod conf;
mod down;
mod layout;
mod record;
mod status;
mod up;

use anyhow::Result;

pub(crate) use account::Account;
pub(crate) use client::ClientLine;
pub(crate) use down::Ended;
pub(crate) use layout::Layout;

use crate::{
    cli::{DownArgs, Format, StatusArgs, UpArgs},
    interrupt, output,
};

/// `dev up`.
pub(crate) fn up(args: &UpArgs) -> Result<()> {
    let cancel = interrupt::token()?;
    let agent = up::up(args, &cancel, &mut output::note)?;
    match args.output {
        Format::Json => output::line(&serde_json::to_string_pretty(&agent)?),
        Format::Text => agent
            .describe()
            .into_iter()
            .for_each(|line| output::line(&line)),
    }
    Ok(())
}

/// Starts a private agent for the demo, which prints in its own way.
pub(crate) fn start(
    args: &UpArgs,
    cancel: &exec::Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Agent> {
    up::up(args, cancel, say)
}

/// Ends a private agent and removes its folder if told so.
pub(crate) fn stop(args: &DownArgs) -> Result<down::Ended> {
    down::down(args)
}

/// `dev down`.
pub(crate) fn down(args: &DownArgs) -> Result<()> {
    // Being interrupted half-way would leave half an agent; every step has a deadline.
    let _token = interrupt::token()?;
    let ended = down::down(args)?;
    output::line(&ended.to_string());
    Ok(())
}

/// `dev status`.
pub(crate) fn status(args: &StatusArgs) -> Result<()> {
    status::status(args)
}

/// How to reach a private agent.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Agent {
    /// Its folder.
    pub(crate) dir: std::path::PathBuf,
    /// Address.
    pub(crate) address: String,
    /// Port.
    pub(crate) port: u16,
    /// TLS?
    pub(crate) tls: bool,
    /// Files for TLS; absent without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<std::path::PathBuf>,
    /// The client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<std::path::PathBuf>,
    /// The client's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<std::path::PathBuf>,
    /// Whom it runs as.
    pub(crate) user: String,
    /// Its libvirt.
    pub(crate) libvirt_uri: String,
    /// Its log.
    pub(crate) log: std::path::PathBuf,
    /// Process id of vdsmd.
    pub(crate) pid: i32,
    /// A command line that talks to it.
    pub(crate) client: String,
}

impl Agent {
    fn describe(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "address  {} port {}{}",
                self.address,
                self.port,
                if self.tls { ", TLS" } else { ", no TLS" }
            ),
            format!("user     {} (pid {})", self.user, self.pid),
            format!("libvirt  {}", self.libvirt_uri),
            format!("log      {}", self.log.display()),
        ];
        for (name, path) in [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)] {
            if let Some(path) = path {
                lines.push(format!("{name:<8} {}", path.display()));
            }
        }
        lines.push(format!("try      {}", self.client));
        lines.push(format!(
            "end      vdsm-tool dev down --dir {}",
            self.dir.display()
        ));
        lines
    }
}
