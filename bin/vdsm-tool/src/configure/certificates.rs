//! Self-signed certificates, so that a fresh host can be talked to before Engine gives it its own.
//!
//! A set that is there, Engine's or ours, is kept; half a set is left alone and told. Ours carry a list of their check
//! sums beside them, by which a purge of the package knows them.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, lchown},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use sha1::{Digest as _, Sha1};

use super::{accounts::AGENT, plan::Change, plan::World};
use crate::certs;

const STORE: &str = "/etc/pki/vdsm";
const FILES: [(&str, u32); 3] = [
    ("certs/cacert.pem", 0o644),
    ("certs/vdsmcert.pem", 0o644),
    ("keys/vdsmkey.pem", 0o440),
];
/// Beside the certificates, in the form of `sha1sum`.
const LIST: &str = "made-by-vdsm-tool.sha1";

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn absent(world: &World) -> Result<Option<String>> {
    let text = world.read(config::DEFAULT_FILE)?.unwrap_or_default();
    let sources = [config::Source::new(config::DEFAULT_FILE, text)];
    // A configuration that is wrong is the affair of validate-config.
    let ssl = config::Config::load(&sources).map_or(true, |loaded| loaded.config.vars.ssl);
    Ok((!ssl).then(|| "TLS is off ([vars] ssl)".to_owned()))
}

/// Nothing if there is a set.
pub(crate) fn plan(world: &World) -> Result<Vec<Change>> {
    let there: Vec<&str> = FILES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| world.has(&format!("{STORE}/{name}")))
        .collect();
    match there.len() {
        0 => Ok(vec![Change::Certificates]),
        3 => Ok(Vec::new()),
        _ => bail!(
            "{STORE} holds half a set of certificates ({}): complete it, or remove what is there",
            there.join(", ")
        ),
    }
}

/// Makes a set. The key last: a set that was cut off is half a set, and told.
pub(crate) fn make(world: &World) -> Result<()> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = match name.trim() {
        "" => "localhost",
        name => name,
    };
    let set = certs::host_set(name, "vdsm-rs").context("cannot make certificates")?;
    let texts = [&set.ca, &set.cert, &set.key];
    let group = primary_group(world)?;
    let mut list = String::new();
    for ((name, mode), text) in FILES.iter().zip(texts) {
        let path = world.at(STORE).join(name);
        put(&path, text, *mode)?;
        if *mode == 0o440
            && let Some((uid, gid)) = group
        {
            lchown(&path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to {AGENT}", path.display()))?;
        }
        for byte in Sha1::digest(text) {
            let _ = write!(list, "{byte:02x}");
        }
        let _ = writeln!(list, "  {STORE}/{name}");
    }
    put(&world.at(STORE).join(LIST), &list, 0o644)
}

/// Numbers of the agent's user and its group, where it exists.
fn primary_group(world: &World) -> Result<Option<(u32, u32)>> {
    let passwd = world.read("/etc/passwd")?.unwrap_or_default();
    Ok(passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&AGENT))
            .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    }))
}

fn put(path: &Path, text: &str, mode: u32) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Whatever the caller's mask: the agent's user must get in.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    persist::write_atomic(path, text.as_bytes(), mode)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        assert_eq!(plan(&world).unwrap(), [Change::Certificates]);
        make(&world).unwrap();
        assert_eq!(plan(&world).unwrap(), []);
        let key = world.at("/etc/pki/vdsm/keys/vdsmkey.pem");
        let mode = fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o440);
        let list = world
            .read("/etc/pki/vdsm/made-by-vdsm-tool.sha1")
            .unwrap()
            .unwrap();
        assert_eq!(list.lines().count(), 3);
        fs::remove_file(key).unwrap();
        let error = plan(&world).unwrap_err().to_string();
        assert!(error.contains("half a set"), "{error}");
    }

    #[test]
    fn without_tls_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        assert_eq!(absent(&world).unwrap(), None);
        fs::create_dir_all(world.at("/etc/vdsm")).unwrap();
        fs::write(world.at("/etc/vdsm/vdsm.conf"), "[vars]\nssl = false\n").unwrap();
        assert!(absent(&world).unwrap().is_some());
    }
}
