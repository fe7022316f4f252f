//! Where log and audit lines go: the journal under systemd, else `supervdsm.log` beside the agent's log file,
//! else standard error.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use config::{LogLevel, LogTarget, Vars};
use tracing_subscriber::{
    filter::LevelFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub(crate) fn start(vars: &Vars) -> Result<()> {
    let registry = tracing_subscriber::registry().with(level(vars.log_level));
    let file = vars
        .log_file
        .as_ref()
        .map(|path| path.with_file_name("supervdsm.log"));
    let journal = match vars.log_target {
        LogTarget::Journald => true,
        LogTarget::Auto => std::env::var_os("JOURNAL_STREAM").is_some(),
        LogTarget::File | LogTarget::Stderr => false,
    };
    if journal {
        let layer = tracing_journald::layer().context("cannot reach the journal")?;
        registry
            .with(layer.with_syslog_identifier("supervdsmd".to_owned()))
            .init();
    } else if let Some(path) = file.filter(|_| vars.log_target != LogTarget::Stderr) {
        let writer = std::sync::Mutex::new(open(&path)?);
        registry
            .with(fmt::layer().with_ansi(false).with_writer(writer))
            .init();
    } else {
        registry
            .with(fmt::layer().with_ansi(false).with_writer(io::stderr))
            .init();
    }
    Ok(())
}

/// Never through a symbolic link: the folder may be the agent's, and this process is root.
fn open(path: &PathBuf) -> Result<std::fs::File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .custom_flags(flags.cast_signed())
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Audit lines are of level info and are never filtered out.
fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info | LogLevel::Warning | LogLevel::Error => LevelFilter::INFO,
    }
}
