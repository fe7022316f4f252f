//! `/etc/resolv.conf`: the host's name servers where programs look for them.
//!
//! What it may be, and what becomes of it:
//!
//! | it is | then |
//! |---|---|
//! | a file, or nothing | replaced whole (temporary file, fsync, rename) |
//! | a link to a file that a service writes (`/run/systemd/resolve/...`, `/run/NetworkManager/...`, `/run/resolvconf/...`) | the *link* is replaced by a file that names where it led; systemd-resolved then takes its servers from it (resolved.conf(5): the foreign file is read), NetworkManager leaves it alone (see `managers`). The servers of such a file are a stub's: none of its lines is kept but `search` |
//! | any other link | the file behind it is replaced; the link stays the administrator's |
//! | mounted over (containers) | written in place, and the old text again if that fails: nothing else can be done there |
//!
//! No servers at all: a link that was replaced comes back if what it leads to is there.

use std::{
    fs, io,
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

use net_model::{Nameserver, Step};
use rustix::io::Errno;

use crate::{ApplyError, Resolver};

/// Where every program looks.
const SYSTEMS: &str = "/etc/resolv.conf";
/// Most that is read of one.
const MOST: u64 = 64 << 10;
/// Services write theirs beneath this.
const OF_SERVICES: &str = "/run/";
/// The comment that remembers a replaced link.
const INSTEAD: &str = "# vdsm: instead of a link to ";

/// A resolv.conf.
#[derive(Debug, Clone)]
pub struct ResolvConf {
    path: PathBuf,
}

/// What stands at its place.
enum Place {
    /// Replaced whole here. Perhaps a link to a service's file stood here.
    File {
        path: PathBuf,
        instead: Option<PathBuf>,
    },
    /// The link of a service, leading there.
    Service(PathBuf),
}

impl ResolvConf {
    /// The system's.
    pub fn system() -> Self {
        Self::at(SYSTEMS)
    }

    /// One elsewhere: for tests and for hosts that are somebody's folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The servers that it names, in order; none if there is no such file.
    pub fn servers(&self) -> io::Result<Vec<Nameserver>> {
        Ok(servers(&read(&self.path)?))
    }

    /// These servers and no others; the other lines stay. So already: false.
    pub fn write(&self, wanted: &[Nameserver]) -> io::Result<bool> {
        let place = self.place()?;
        let old = read(&self.path)?;
        if servers(&old) == wanted && !matches!(place, Place::Service(_)) {
            return Ok(false);
        }
        match place {
            Place::Service(_) if wanted.is_empty() => return Ok(false),
            Place::Service(target) => {
                let head = format!("{INSTEAD}{}\n", target.display());
                let kept = kept(&old, |line| line.starts_with("search"));
                replace(&self.path, &whole(&head, &kept, wanted))
            }
            Place::File {
                instead: Some(link),
                ..
            } if wanted.is_empty() && link.exists() => self.link_again(&link),
            Place::File { path, .. } => {
                let kept = kept(&old, |line| !is_ours(line));
                replace(&path, &whole("", &kept, wanted))
            }
        }
        .map(|()| true)
    }

    /// Takes these servers out, if it names any of them.
    pub fn forget(&self, gone: &[Nameserver]) -> io::Result<bool> {
        let now = self.servers()?;
        if !now.iter().any(|it| gone.contains(it)) {
            return Ok(false);
        }
        let left: Vec<_> = now.into_iter().filter(|it| !gone.contains(it)).collect();
        self.write(&left)
    }

    fn place(&self) -> io::Result<Place> {
        let target = match fs::read_link(&self.path) {
            Ok(target) => target,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                ) =>
            {
                let text = read(&self.path)?;
                let instead = text.lines().find_map(|line| line.strip_prefix(INSTEAD));
                return Ok(Place::File {
                    path: self.path.clone(),
                    instead: instead.map(PathBuf::from),
                });
            }
            Err(error) => return Err(error),
        };
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let path = flat(&folder.join(&target));
        if path.starts_with(OF_SERVICES) {
            return Ok(Place::Service(target));
        }
        let instead = None;
        Ok(Place::File { path, instead })
    }

    fn link_again(&self, target: &Path) -> io::Result<()> {
        let beside = self.path.with_extension("vdsm-link");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(target, &beside)?;
        fs::rename(&beside, &self.path)
    }
}

impl Resolver for ResolvConf {
    fn now(&self) -> Option<Vec<Nameserver>> {
        match self.place() {
            Ok(Place::Service(_)) => Some(Vec::new()),
            Ok(Place::File { .. }) => self.servers().ok(),
            Err(_) => None,
        }
    }

    fn set(&self, servers: &[Nameserver], _until: Instant) -> Result<(), ApplyError> {
        match self.write(servers) {
            Ok(_) => Ok(()),
            Err(source) => Err(ApplyError::File {
                step: Box::new(Step::SetNameservers {
                    servers: servers.to_vec(),
                }),
                path: self.path.display().to_string(),
                source,
            }),
        }
    }
}

/// Without `.` and `..`: `/etc/../run/x` is `/run/x`.
fn flat(path: &Path) -> PathBuf {
    let mut flat = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                flat.pop();
            }
            std::path::Component::CurDir => {}
            other => flat.push(other),
        }
    }
    flat
}

/// Nothing if there is no such file, or none that is text.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(file) => file.take(MOST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// resolv.conf(5): the keyword at the line's start, white space, an address.
fn servers(text: &str) -> Vec<Nameserver> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .collect()
}

/// A line that is written anew.
fn is_ours(line: &str) -> bool {
    line.strip_prefix("nameserver")
        .is_some_and(|rest| rest.starts_with([' ', '\t']))
}

fn kept(text: &str, which: impl Fn(&str) -> bool) -> String {
    let lines = text.lines().filter(|line| which(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn whole(head: &str, kept: &str, servers: &[Nameserver]) -> String {
    let lines = servers
        .iter()
        .map(|it| format!("nameserver {}\n", it.as_str()));
    let servers: String = lines.collect();
    format!("{head}{kept}{servers}")
}

/// Whole or not at all, unless something is mounted over it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    match persist::write_atomic(path, text.as_bytes(), 0o644) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => in_place(path, text),
        other => other,
    }
}

/// The file's blocks are kept until the new text stands in them: on a full disk the old one is written again.
fn in_place(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::options().read(true).write(true).open(path)?;
    let mut old = Vec::new();
    (&mut file).take(MOST).read_to_end(&mut old)?;
    let mut put = |bytes: &[u8]| {
        file.seek(io::SeekFrom::Start(0))?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    };
    put(text.as_bytes()).inspect_err(|_| {
        if let Err(error) = put(&old) {
            tracing::error!(path = %path.display(), %error, "neither the new name servers are in it nor all of the old text");
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(text: &str) -> Nameserver {
        text.parse().expect("a name server")
    }

    fn at(folder: &Path) -> ResolvConf {
        ResolvConf::at(folder.join("resolv.conf"))
    }

    #[test]
    fn other_lines_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = at(folder.path());
        fs::write(
            conf.path(),
            "# mine\nsearch a.example\nnameserver 192.0.2.1\noptions edns0\nnameserver nonsense\n",
        )
        .expect("written");
        let wanted = [server("192.0.2.2"), server("fe80::1%eth0")];
        assert!(conf.write(&wanted).expect("written"));
        assert!(!conf.write(&wanted).expect("so already"));
        let text = fs::read_to_string(conf.path()).expect("text");
        assert_eq!(
            text,
            "# mine\nsearch a.example\noptions edns0\nnameserver 192.0.2.2\nnameserver fe80::1%eth0\n"
        );
        assert!(conf.forget(&wanted[..1]).expect("written"));
        assert_eq!(conf.servers().expect("servers"), wanted[1..]);
        assert!(!conf.forget(&wanted[..1]).expect("gone already"));
    }

    #[test]
    fn no_file_is_made_only_when_there_is_something_to_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = at(folder.path());
        assert!(!conf.write(&[]).expect("nothing to do") && !conf.path().exists());
        assert!(conf.write(&[server("192.0.2.1")]).expect("written"));
        assert_eq!(conf.servers().expect("servers"), [server("192.0.2.1")]);
    }

    #[test]
    fn the_link_of_a_service_is_replaced_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = at(folder.path());
        let Ok(service) = tempfile::NamedTempFile::new_in("/run") else {
            println!("skipped: only root may write into /run");
            return;
        };
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch a.example\n";
        fs::write(service.path(), stub).expect("written");
        symlink(service.path(), conf.path()).expect("a link");
        assert_eq!(conf.now(), Some(Vec::new()), "a service's are not set");
        assert!(conf.write(&[server("192.0.2.1")]).expect("written"));
        assert_eq!(conf.now(), Some(vec![server("192.0.2.1")]));
        let text = fs::read_to_string(conf.path()).expect("text");
        assert!(text.ends_with("\nsearch a.example\nnameserver 192.0.2.1\n"));
        assert!(!text.contains("trust-ad"), "a stub's promise: {text}");
        assert!(fs::symlink_metadata(conf.path()).expect("it").is_file());
        assert_eq!(
            fs::read_to_string(service.path()).expect("the stub"),
            stub,
            "not ours to write"
        );
        assert!(conf.write(&[]).expect("written"));
        let back = fs::read_link(conf.path()).expect("a link again");
        assert_eq!(back, service.path());
        assert_eq!(conf.now(), Some(Vec::new()), "as it was set");
    }

    #[test]
    fn a_link_of_the_administrator_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = at(folder.path());
        symlink("elsewhere", conf.path()).expect("a link");
        assert!(conf.write(&[server("192.0.2.1")]).expect("written"));
        assert_eq!(
            fs::read_link(conf.path()).expect("a link"),
            Path::new("elsewhere")
        );
        let text = fs::read_to_string(folder.path().join("elsewhere")).expect("the file");
        assert_eq!(text, "nameserver 192.0.2.1\n");
    }

    #[test]
    fn on_a_full_disk_the_old_text_stays() {
        guard::isolated!(|| {
            use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
            let folder = tempfile::tempdir().expect("a folder");
            let size = Some(c"size=64k");
            if let Err(error) = mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), size) {
                println!("skipped: cannot mount a tmpfs: {error}");
                return;
            }
            let path = folder.path().join("resolv.conf");
            let old = "nameserver 192.0.2.1\n";
            fs::write(&path, old).expect("written");
            let mut filler = fs::File::create(folder.path().join("filler")).expect("a file");
            while filler.write_all(&[7; 4096]).is_ok() {}
            let long = format!("{}nameserver 192.0.2.2\n", "# a comment\n".repeat(1000));
            in_place(&path, &long).expect_err("the disk is full");
            assert_eq!(fs::read_to_string(&path).expect("text"), old);
            in_place(&path, "nameserver 192.0.2.3\n").expect("it fits");
            in_place(&path, "").expect("shorter");
            assert_eq!(fs::read_to_string(&path).expect("text"), "");
            drop(filler);
            unmount(folder.path(), UnmountFlags::empty()).expect("unmounted");
        });
    }

    proptest! {
        #[test]
        fn any_file_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let folder = tempfile::tempdir().expect("a folder");
            let conf = at(folder.path());
            fs::write(conf.path(), bytes).expect("written");
            let wanted = [server("192.0.2.1")];
            conf.write(&wanted).expect("written");
            prop_assert_eq!(conf.servers().expect("servers"), wanted);
        }
    }
}
