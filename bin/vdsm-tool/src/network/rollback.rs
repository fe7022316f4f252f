//! `vdsm-tool net-rollback`: back to networks as they were before.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use net_model::{Desired, Scope};
use privileged::{Millis, NetworkRollback, NetworkSet};
use serde_json::json;

use super::{RollbackArgs, cli::Set, explained, meaning, planned_here, set_at, show};
use crate::output;

/// On top of the time to answer, so that the answer is not raced.
const GRACE: Duration = Duration::from_secs(3);

/// Runs it.
pub(crate) fn rollback(args: &RollbackArgs) -> Result<ExitCode> {
    let files = args.reach.files()?;
    let link = match args.set {
        Set::Persistent => files.persistent,
        Set::Running => files.running,
    };
    if args.list {
        return list(&link, args.reach.json);
    }
    let back = chosen(&link, args.to)?;
    if args.dry_run {
        return show_plan(args, &link, back);
    }
    make(args, back)?;
    Ok(ExitCode::SUCCESS)
}

/// A generation of a set.
struct Generation {
    number: u64,
    in_force: bool,
    /// When it was stored, seconds since 1970.
    stored: Option<i64>,
    networks: Vec<String>,
    bonds: Vec<String>,
}

fn generations(link: &Path) -> Result<Vec<Generation>> {
    let listing = observe::netconf::listing(link)?;
    let all = listing.generations();
    let one = |(number, name): (u64, String)| {
        let folder = link.with_file_name(&name);
        let found = observe::netconf::read(&folder)?;
        let (config, _) = found.netconf.config();
        Ok(Generation {
            number,
            in_force: listing.target.as_ref() == Some(&name),
            stored: modified(&folder),
            networks: config.networks.keys().map(ToString::to_string).collect(),
            bonds: config.bonds.keys().map(ToString::to_string).collect(),
        })
    };
    all.into_iter().map(one).collect()
}

fn modified(path: &Path) -> Option<i64> {
    let stat = rustix::fs::stat(path).ok()?;
    Some(stat.st_mtime)
}

fn list(link: &Path, json: bool) -> Result<ExitCode> {
    let all = generations(link)?;
    let time = |it: &Generation| {
        let text = it.stored.map(observe::clock::rfc3339_seconds);
        text.unwrap_or_default()
    };
    if json {
        let all: Vec<_> = all
            .iter()
            .map(|it| {
                json!({
                    "generation": it.number, "inForce": it.in_force, "stored": time(it),
                    "networks": it.networks, "bonds": it.bonds,
                })
            })
            .collect();
        output::line(&json!({ "generations": all }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        output::line("no generations are kept yet");
    }
    for it in all {
        let mark = if it.in_force { "*" } else { " " };
        let names = [it.networks.join(" "), it.bonds.join(" ")].join(" ");
        output::line(&format!(
            "{mark} {:>7}  {}  {}",
            it.number,
            time(&it),
            names.trim()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// How many generations back the chosen one is.
fn chosen(link: &Path, to: Option<u64>) -> Result<u16> {
    let listing = observe::netconf::listing(link)?;
    let all = listing.generations();
    let numbers: Vec<u64> = all.iter().map(|(number, _)| *number).collect();
    // Not in force is the first only where the link is none of ours: then all of them are older.
    let first = all.first().map(|(_, name)| name);
    let ahead = usize::from(first.is_some() && first != listing.target.as_ref());
    let back = match to {
        None => Some(1).filter(|_| numbers.len() + ahead > 1),
        Some(wanted) => {
            let place = numbers.iter().position(|it| *it == wanted);
            place.map(|it| it + ahead)
        }
    };
    let known = || {
        let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    match (back, to) {
        (Some(back), _) => u16::try_from(back).context("too many generations"),
        (None, None) => Err(anyhow!(
            "there is no older generation in {}",
            folder(link).display()
        )),
        (None, Some(wanted)) => Err(anyhow!(
            "there is no generation {wanted}; there are: {}",
            known()
        )),
    }
}

fn folder(link: &Path) -> PathBuf {
    link.parent().unwrap_or(link).to_owned()
}

fn show_plan(args: &RollbackArgs, link: &Path, back: u16) -> Result<ExitCode> {
    let reach = &args.reach;
    let state = reach.client()?.network_state().map_err(explained)?;
    let older = observe::netconf::read_older(link, back.into())?;
    let older = older.ok_or_else(|| anyhow!("the generation is gone"))?;
    let desired = Desired {
        before: set_at(&reach.files()?.running)?,
        after: meaning(older),
        scope: Scope::All,
    };
    let current = reach.current_with(&state)?;
    let plan = planned_here(&current, &desired, state.tables)?;
    if reach.json {
        output::line(&show::plan(&plan).to_string());
    } else {
        output::line(plan.to_string().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn make(args: &RollbackArgs, back: u16) -> Result<()> {
    let set = match args.set {
        Set::Persistent => NetworkSet::Persistent,
        Set::Running => NetworkSet::Running,
    };
    let client = args.reach.client()?;
    let pending = client
        .network_rollback(NetworkRollback {
            set,
            back,
            deadline_ms: Millis::of(args.reach.timeout),
            confirm_within_ms: args.confirm_within.map(|it| Millis::of(it + GRACE)),
        })
        .map_err(explained)?;
    let steps = pending.steps().to_vec();
    if !args.reach.json {
        for step in &steps {
            output::line(step);
        }
    }
    if let Some(within) = args.confirm_within
        && !is_wanted(within)
    {
        pending.undo().map_err(explained)?;
        bail!("not confirmed: the networks are as they were before");
    }
    let stored = pending.confirm().map_err(explained)?;
    if args.reach.json {
        output::line(&json!({ "steps": steps, "stored": stored }).to_string());
    } else if let Some(generation) = stored.persistent {
        output::line(&format!("done; it is generation {generation} now"));
    } else {
        output::line("done");
    }
    Ok(())
}

/// Asks on the terminal. Silence is no.
fn is_wanted(within: Duration) -> bool {
    output::note(&format!(
        "The change is made. Type yes within {} s to keep it; else it is undone.",
        within.as_secs()
    ));
    let (say, hear) = mpsc::channel();
    let asked = thread::Builder::new().spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        let _ = say.send(line);
    });
    if asked.is_err() {
        return false;
    }
    let said = hear.recv_timeout(within).unwrap_or_default();
    said.trim().eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn set(folder: &Path, networks: &[&str]) {
        fs::create_dir_all(folder.join("nets")).unwrap();
        for name in networks {
            let record = r#"{"nic": "eth0", "bridged": true, "switch": "legacy"}"#;
            fs::write(folder.join("nets").join(name), record).unwrap();
        }
    }

    #[test]
    fn generations_are_counted_back_from_the_one_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("netconf");
        assert!(chosen(&link, None).is_err());
        set(&dir.path().join("netconf.g0000003"), &["a"]);
        symlink("netconf.g0000003", &link).unwrap();
        assert!(
            chosen(&link, None)
                .unwrap_err()
                .to_string()
                .contains("no older")
        );
        set(&dir.path().join("netconf.g0000005"), &["a", "b"]);
        set(&dir.path().join("netconf.g0000006"), &["c"]);
        fs::remove_file(&link).unwrap();
        symlink("netconf.g0000006", &link).unwrap();
        // What a store left unfinished is none.
        set(&dir.path().join("netconf.g0000007"), &["x"]);
        assert_eq!(chosen(&link, None).unwrap(), 1);
        assert_eq!(chosen(&link, Some(6)).unwrap(), 0);
        assert_eq!(chosen(&link, Some(5)).unwrap(), 1);
        assert_eq!(chosen(&link, Some(3)).unwrap(), 2);
        let error = chosen(&link, Some(7)).unwrap_err().to_string();
        assert!(error.contains("there are: 6, 5, 3"), "{error}");
        let all = generations(&link).unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|it| (it.number, it.in_force, it.networks.join(",")))
            .collect();
        assert_eq!(
            told,
            [
                (6, true, "c".to_owned()),
                (5, false, "a,b".to_owned()),
                (3, false, "a".to_owned())
            ]
        );
        assert!(all.iter().all(|it| it.stored.is_some()));
    }
}
