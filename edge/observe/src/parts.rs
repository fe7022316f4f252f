//! Which optional parts are there: looks at paths, starts nothing, remembers nothing, so that what is installed or
//! started later is seen by the next look.

use std::collections::{BTreeMap, BTreeSet};

use host_model::{Part, Parts, Place};

use crate::{Host, files::Reader};

/// Folders for programs. The older two are links to the others where the distribution has merged them.
const PROGRAMS: [&str; 6] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];
/// Folders for libraries; beneath the second one lie those of Debian's kin, a folder an architecture.
const LIBRARIES: [&str; 3] = ["/usr/lib64", "/usr/lib", "/lib"];
/// Where masked units lie, as links to `/dev/null`.
const UNITS: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

impl Host {
    /// Which optional parts are there now. Some hundred looks at paths.
    pub fn parts(&self) -> Parts {
        parts(&mut Reader::new(&self.root))
    }
}

pub(crate) fn parts(reader: &mut Reader<'_>) -> Parts {
    let mut seen = Seen {
        reader,
        folders: BTreeMap::new(),
    };
    let present = Part::ALL
        .into_iter()
        .filter(|part| part.places().iter().any(|place| seen.is_there(place)))
        .collect();
    Parts {
        present,
        masked: masked(seen.reader),
    }
}

struct Seen<'a, 'b> {
    reader: &'a mut Reader<'b>,
    /// Names in folders that were listed for a pattern.
    folders: BTreeMap<&'static str, Vec<String>>,
}

impl Seen<'_, '_> {
    fn is_there(&mut self, place: &Place) -> bool {
        match place {
            Place::Path(path) => self.reader.exists(path),
            Place::Library(name) => self.library(name),
            Place::Program(name) => match name.strip_suffix('*') {
                Some(start) => PROGRAMS.iter().any(|folder| self.begins(folder, start)),
                None => PROGRAMS
                    .iter()
                    .any(|folder| self.reader.exists(&format!("{folder}/{name}"))),
            },
        }
    }

    fn library(&self, name: &str) -> bool {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" => "powerpc64le",
            other => other,
        };
        let multiarch = format!("{architecture}-linux-gnu");
        LIBRARIES.iter().any(|folder| {
            let plain = format!("{folder}/{name}");
            self.reader.exists(&plain)
                || self.reader.exists(&format!("{folder}/{multiarch}/{name}"))
        })
    }

    fn begins(&mut self, folder: &'static str, start: &str) -> bool {
        let names = self
            .folders
            .entry(folder)
            .or_insert_with(|| self.reader.names(folder));
        names.iter().any(|name| name.starts_with(start))
    }
}

fn masked(reader: &mut Reader<'_>) -> BTreeSet<String> {
    let mut masked = BTreeSet::new();
    for folder in UNITS {
        let names = reader.names(folder);
        let nulls = names.into_iter().filter(|name| {
            let target = std::fs::read_link(reader.full(&format!("{folder}/{name}")));
            target.is_ok_and(|target| target.as_os_str() == "/dev/null")
        });
        masked.extend(nulls);
    }
    masked
}
