//! Folders given to the agent by the root helper.
//!
//! What may be asked for is decided twice: here, so that nobody is asked in vain, and by the helper, which believes
//! nothing of it. Each request ends within `[supervdsm] request_timeout`.

use std::path::{Component, Path, PathBuf};

use config::Supervdsm;
use privileged::{AllowedRoot, Client, ClientError, Mode, Owner, RelativePath, SetOwnership};
use storage_model::ports::{Ownership, OwnershipError};

/// As `chown vdsm:kvm` and `chmod 0755`, which upstream asks of the administrator.
const FOLDER_MODE: u32 = 0o755;

/// The root helper as storage sees it.
pub(crate) struct HelperOwnership {
    client: Client,
    roots: Vec<PathBuf>,
}

impl HelperOwnership {
    /// Reaches nobody yet: a helper that is down may come up later.
    pub(crate) fn new(options: &Supervdsm) -> Self {
        Self {
            client: Client::new(&options.socket, options.request_timeout),
            roots: options.allowed_roots.clone(),
        }
    }

    fn request(&self, folder: &Path) -> Result<SetOwnership, OwnershipError> {
        let outside = || OwnershipError::Outside(folder.to_owned());
        let beneath = |root: &PathBuf| {
            let rest = folder.strip_prefix(root).ok()?;
            let plain = |part| matches!(part, Component::Normal(_));
            (rest.components().next().is_some() && rest.components().all(plain))
                .then(|| (text(root), text(rest)))
        };
        let (root, path) = self.roots.iter().find_map(beneath).ok_or_else(outside)?;
        let refused = OwnershipError::Refused;
        Ok(SetOwnership {
            root: AllowedRoot::new(root).map_err(refused)?,
            path: RelativePath::new(path).map_err(refused)?,
            owner: Owner::Vdsm,
            mode: Mode::new(FOLDER_MODE).map_err(refused)?,
        })
    }
}

impl Ownership for HelperOwnership {
    fn take(&self, folder: &Path) -> Result<(), OwnershipError> {
        let request = self.request(folder)?;
        match self.client.set_ownership(request) {
            Ok(_) => Ok(()),
            Err(ClientError::Refused { source, .. }) => {
                Err(OwnershipError::Refused(source.to_string()))
            }
            Err(error) => Err(OwnershipError::Unknown(format!(
                "{:#}",
                anyhow::Error::from(error)
            ))),
        }
    }
}

/// A path in its plain spelling, without slashes at the end. What is no text is refused by the types of the request
/// or by the helper, for it names nothing then.
fn text(path: &Path) -> String {
    path.components()
        .collect::<PathBuf>()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(roots: &[&str], folder: &str) -> Result<(String, String), OwnershipError> {
        let options = Supervdsm {
            allowed_roots: roots.iter().map(PathBuf::from).collect(),
            ..config::Config::default().supervdsm
        };
        let request = HelperOwnership::new(&options).request(Path::new(folder))?;
        Ok((
            request.root.as_str().to_owned(),
            request.path.as_str().to_owned(),
        ))
    }

    #[test]
    fn only_what_lies_beneath_a_root_is_asked_for() {
        let roots = ["/var/lib/vdsm/", "/srv"];
        let request = |root: &str, path: &str| Ok((root.to_owned(), path.to_owned()));
        assert_eq!(
            asked(&roots, "/var/lib/vdsm/a/b"),
            request("/var/lib/vdsm", "a/b")
        );
        assert_eq!(asked(&roots, "/srv/x"), request("/srv", "x"));
        for folder in [
            "/",
            "/etc",
            "/srv",
            "/srv/",
            "/srvx/a",
            "/srv/../etc",
            "srv/a",
        ] {
            assert_eq!(
                asked(&roots, folder),
                Err(OwnershipError::Outside(folder.into())),
                "{folder}"
            );
        }
        let long = format!("/srv/{}", "a".repeat(300));
        assert!(matches!(
            asked(&roots, &long),
            Err(OwnershipError::Refused(_))
        ));
    }

    #[test]
    fn nobody_there_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let options = Supervdsm {
            socket: dir.path().join("sock"),
            allowed_roots: vec!["/srv".into()],
            ..config::Config::default().supervdsm
        };
        let error = HelperOwnership::new(&options).take(Path::new("/srv/x"));
        assert!(
            matches!(error, Err(OwnershipError::Unknown(_))),
            "{error:?}"
        );
    }
}
