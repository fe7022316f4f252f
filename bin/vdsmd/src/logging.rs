//! Where log lines go, and how much of them.
//!
//! Under systemd lines go to the journal, else to `[vars] log_file`, else to standard error. One line a
//! call (see [`crate::service`]); no line holds a secret, because secrets have types that cannot be
//! printed and parameters are redacted by their declaration.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow};
use config::{LogTarget, Vars};
use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

type Handle = reload::Handle<EnvFilter, Registry>;

static FILTER: OnceLock<Handle> = OnceLock::new();

/// Starts logging where `[vars] log_target` says: `auto` is the journal under systemd, else the file if one is
/// named, else standard error.
pub(crate) fn start(vars: &Vars) -> Result<()> {
    let (filter, handle) = reload::Layer::new(parse(vars.log_level.as_str())?);
    let registry = tracing_subscriber::registry().with(filter);
    match target(vars) {
        Target::Journal => {
            let journal = tracing_journald::layer().context("cannot reach the journal")?;
            registry
                .with(journal.with_syslog_identifier("vdsm".to_owned()))
                .init();
        }
        Target::File(path) => {
            registry
                .with(fmt::layer().with_ansi(false).with_writer(open(path)?))
                .init();
        }
        Target::Stderr => {
            registry
                .with(fmt::layer().with_ansi(false).with_writer(io::stderr))
                .init();
        }
    }
    FILTER
        .set(handle)
        .map_err(|_| anyhow!("logging is started twice"))
}

enum Target<'a> {
    Journal,
    File(&'a Path),
    Stderr,
}

fn target(vars: &Vars) -> Target<'_> {
    let journal = match vars.log_target {
        LogTarget::Journald => true,
        LogTarget::Auto => under_systemd(),
        LogTarget::File | LogTarget::Stderr => false,
    };
    let file = vars
        .log_file
        .as_deref()
        .filter(|_| vars.log_target != LogTarget::Stderr);
    match file {
        _ if journal => Target::Journal,
        Some(path) => Target::File(path),
        None => Target::Stderr,
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
        .with_context(|| format!("cannot open the log file {}", path.display()))
}

/// Changes the level from now on: of one target (`name`), or of all where `name` is empty.
pub(crate) fn set_level(level: &str, name: &str) -> Result<()> {
    let handle = FILTER.get().context("logging is not started")?;
    let level = level_name(level).with_context(|| format!("no such level: {level}"))?;
    let filter = if name.is_empty() {
        parse(level)?
    } else {
        let directive = format!("{name}={level}").parse()?;
        let now = handle.with_current(ToString::to_string)?;
        parse(&now)?.add_directive(directive)
    };
    handle.reload(filter).context("cannot change the level")
}

fn parse(filter: &str) -> Result<EnvFilter> {
    let filter = level_name(filter).unwrap_or(filter);
    EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("not a log level or filter: {filter}"))
}

/// Python's level names, as upstream takes them, in tracing's words.
fn level_name(level: &str) -> Option<&'static str> {
    Some(match level.to_ascii_uppercase().as_str() {
        "CRITICAL" | "CRIT" | "FATAL" | "ERROR" => "error",
        "WARNING" | "WARN" => "warn",
        "INFO" => "info",
        "DEBUG" => "debug",
        "TRACE" | "NOTSET" => "trace",
        _ => return None,
    })
}

fn under_systemd() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_levels_are_understood() {
        assert_eq!(level_name("warning"), Some("warn"));
        assert_eq!(level_name("CRITICAL"), Some("error"));
        assert_eq!(level_name("loud"), None);
        assert!(parse("info,rpc=debug").is_ok());
        assert!(parse("rpc==").is_err());
    }
}
