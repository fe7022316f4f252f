//! The port's certificates while the agent runs: loaded at the start, loaded anew when their files change or at
//! SIGHUP, and told of before they end.
//!
//! States: *used* -> *renewed* (connections from now on meet the new ones, old connections go on) or *refused* (the
//! new files cannot be used: one ERROR line, the old ones serve on). How far from its end each is goes to the log
//! at the start, after a renewal, and once a day; `vdsmd --certificates` prints the same.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use config::Config;
use observe::clock;
use rpc::{Keeper, Refresh, Security, Server, ServerTls, TlsFiles, Validity};
use tokio::signal::unix::{SignalKind, signal};

/// Pause between looks at the files.
const LOOK: Duration = Duration::from_secs(10);
/// Looks between two reports: a day.
const REPORT: u32 = 8_640;
/// Before its end a certificate is told of as a warning so many days, as an error so many.
const WARN_DAYS: i64 = 30;
const ERROR_DAYS: i64 = 7;
const DAY: i64 = 86_400;

/// Who sees to the port's protection.
pub(crate) enum Guardian {
    /// There is none.
    Plain,
    /// TLS, from files.
    Tls(Box<Keeper>),
}

impl Guardian {
    /// Loads what the configuration names.
    pub(crate) fn new(config: &Config) -> Result<(Self, Security)> {
        if !config.vars.ssl {
            tracing::warn!("TLS is off (vars/ssl): whoever reaches the port commands this host");
            return Ok((Self::Plain, Security::Plain));
        }
        let (keeper, tls) =
            Keeper::new(source(config)).context("vars/ssl is on, but TLS cannot be set up")?;
        report(keeper.source());
        Ok((Self::Tls(Box::new(keeper)), Security::Tls(tls)))
    }

    /// Watches for as long as the future is polled. Reads a few small files of this host, and only when they
    /// changed: that is not worth a thread.
    pub(crate) async fn watch(self, server: &Server) -> Result<()> {
        let mut hang_up = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
        let Self::Tls(mut keeper) = self else {
            // The signal would end the process otherwise.
            while hang_up.recv().await.is_some() {}
            return std::future::pending().await;
        };
        let mut looks = 0;
        loop {
            let found = tokio::select! {
                _ = hang_up.recv() => keeper.reload(),
                () = tokio::time::sleep(LOOK) => keeper.look(),
            };
            looks += 1;
            match found {
                Refresh::Unchanged if looks < REPORT => continue,
                Refresh::Unchanged => {}
                Refresh::Renewed(tls) => {
                    server.set_security(Security::Tls(tls));
                    tracing::info!("certificates were read anew; connections that are open go on");
                }
                Refresh::Broken(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::error!(
                        "new certificates cannot be used, the old ones serve on: {error:#}"
                    );
                    continue;
                }
            }
            looks = 0;
            report(keeper.source());
        }
    }
}

fn source(config: &Config) -> ServerTls {
    let store = &config.vars.trust_store_path;
    ServerTls {
        files: TlsFiles {
            cert: store.join("certs/vdsmcert.pem"),
            key: store.join("keys/vdsmkey.pem"),
            ca: store.join("certs/cacert.pem"),
        },
        revoked: config.vars.revocation_lists.clone(),
    }
}

/// How near its end something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Fine,
    Soon,
    Now,
}

fn urgency(days: i64) -> Urgency {
    if days <= ERROR_DAYS {
        Urgency::Now
    } else if days <= WARN_DAYS {
        Urgency::Soon
    } else {
        Urgency::Fine
    }
}

/// Whole days from now to the end; negative afterwards.
fn days_left(not_after: i64) -> i64 {
    let now = i64::try_from(clock::now_unix()).unwrap_or(i64::MAX);
    (not_after - now).div_euclid(DAY)
}

/// One line for each that has an end.
fn report(source: &ServerTls) {
    let all = match source.validity() {
        Ok(all) => all,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return tracing::error!("certificates cannot be told of: {error:#}");
        }
    };
    for one in all {
        let Some(end) = one.not_after else { continue };
        let (path, days) = (one.path.display(), days_left(end));
        let (not_after, subject) = (clock::rfc3339_seconds(end), &one.subject);
        let text = in_words(one.what, days);
        match urgency(days) {
            Urgency::Fine => tracing::info!(%path, subject, not_after, days, "{text}"),
            Urgency::Soon => tracing::warn!(%path, subject, not_after, days, "{text}"),
            Urgency::Now => tracing::error!(%path, subject, not_after, days, "{text}"),
        }
    }
}

fn in_words(what: &str, days: i64) -> String {
    match (what, days) {
        ("revocation list", ..0) => "the next revocation list is overdue".to_owned(),
        ("revocation list", _) => format!("the next revocation list is due in {days} days"),
        (_, ..0) => format!("the {what} has expired"),
        _ => format!("the {what} ends in {days} days"),
    }
}

/// Prints until when everything holds; an error if something has ended or will within days, for whoever
/// watches over hosts by exit codes.
pub(crate) fn print(config: &Config) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if !config.vars.ssl {
        writeln!(out, "TLS is off (vars/ssl): there are no certificates")?;
        return Ok(());
    }
    let source = source(config);
    let cannot = "TLS cannot be set up";
    source.load().context(cannot)?;
    let all = source.validity().context(cannot)?;
    let mut worst = Urgency::Fine;
    for one in &all {
        worst = worst.max(
            one.not_after
                .map_or(Urgency::Fine, |end| urgency(days_left(end))),
        );
        writeln!(out, "{}", line(one))?;
    }
    anyhow::ensure!(
        worst < Urgency::Now,
        "renew what ends within {ERROR_DAYS} days"
    );
    Ok(())
}

fn line(one: &Validity) -> String {
    let (path, subject) = (one.path.display(), &one.subject);
    match one.not_after {
        Some(end) => format!(
            "{path}: {} ({}; {subject})",
            in_words(one.what, days_left(end)),
            clock::rfc3339_seconds(end)
        ),
        None => format!("{path}: the {} has no end ({subject})", one.what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_grows_towards_the_end() {
        let cases = [
            (31, Urgency::Fine),
            (30, Urgency::Soon),
            (8, Urgency::Soon),
            (7, Urgency::Now),
            (-1, Urgency::Now),
        ];
        for (days, expected) in cases {
            assert_eq!(urgency(days), expected, "{days}");
        }
    }

    #[test]
    fn days_are_whole_and_negative_afterwards() {
        let now = i64::try_from(clock::now_unix()).unwrap();
        assert_eq!(days_left(now + 10 * DAY + 60), 10);
        assert_eq!(days_left(now - 60), -1);
        assert_eq!(in_words("certificate", 3), "the certificate ends in 3 days");
        assert_eq!(in_words("certificate", -1), "the certificate has expired");
    }
}
