//! A folder of records of one kind.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Read},
    marker::PhantomData,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    PersistError,
    file::{is_temporary, remove_durably, sync_folder_of, write_atomic},
};

/// Bytes of the largest record.
pub const MAX_RECORD: u64 = 16 << 20;

/// Turns the fields of an older (or unknown) version into those of the current one, or says why not.
pub type Upgrade = fn(u64, Map<String, Value>) -> Result<Map<String, Value>, String>;

/// A folder of records of one kind, each a JSON object with a version. Every call goes to the disk.
///
/// One process uses a folder at a time; within it, calls for different names may run in parallel.
#[derive(Debug)]
pub struct Store<T> {
    dir: PathBuf,
    version: u64,
    upgrade: Upgrade,
    kind: PhantomData<fn() -> T>,
}

/// What [`Store::load_all`] found.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The records by name.
    pub records: BTreeMap<String, T>,
    /// Those that could not be read.
    pub quarantined: Vec<Quarantined>,
}

/// A record that could not be read and was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its name.
    pub name: String,
    /// Where it is now; where it was, if it could not even be renamed.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl<T: Serialize + DeserializeOwned> Store<T> {
    /// Opens a folder (made with mode 0700 if missing) of records of this version. Older versions are
    /// damaged records: see [`Store::open_with`].
    pub fn open(dir: impl Into<PathBuf>, version: u64) -> Result<Self, PersistError> {
        Self::open_with(dir, version, |seen, _| {
            Err(format!("unknown version {seen}"))
        })
    }

    /// As [`Store::open`], with a way to read other versions. Removes what torn writes have left.
    pub fn open_with(
        dir: impl Into<PathBuf>,
        version: u64,
        upgrade: Upgrade,
    ) -> Result<Self, PersistError> {
        let dir = dir.into();
        let prepare = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            remove_leftovers(&dir)
        };
        match prepare() {
            Ok(()) => Ok(Self {
                dir,
                version,
                upgrade,
                kind: PhantomData,
            }),
            Err(source) => Err(PersistError::Open { dir, source }),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes this the record of that name, durably: when this returns `Ok`, it survives a crash; when it
    /// returns an error, the older record is intact.
    pub fn put(&self, name: &str, record: &T) -> Result<(), PersistError> {
        let path = self.path(name)?;
        let data = self.express(name, record)?;
        write_atomic(&path, &data, 0o600).map_err(|source| PersistError::Write { path, source })
    }

    /// The record of that name; `None` if there is none.
    pub fn get(&self, name: &str) -> Result<Option<T>, PersistError> {
        let path = self.path(name)?;
        match read_bounded(&path) {
            Ok(data) => match self.parse(&data) {
                Ok(record) => Ok(Some(record)),
                Err(why) => Err(PersistError::Damaged { path, why }),
            },
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PersistError::Read { path, source }),
        }
    }

    /// Removes the record of that name, durably. False if there was none.
    pub fn remove(&self, name: &str) -> Result<bool, PersistError> {
        let path = self.path(name)?;
        remove_durably(&path).map_err(|source| PersistError::Remove { path, source })
    }

    /// All records. Those that cannot be read are renamed aside and told of; only an unreadable folder is
    /// an error.
    pub fn load_all(&self) -> Result<Loaded<T>, PersistError> {
        let mut loaded = Loaded {
            records: BTreeMap::new(),
            quarantined: Vec::new(),
        };
        for name in self.names()? {
            let path = self.dir.join(format!("{name}.json"));
            let read = read_bounded(&path).map_err(|error| error.to_string());
            match read.and_then(|data| self.parse(&data)) {
                Ok(record) => {
                    loaded.records.insert(name, record);
                }
                Err(why) => loaded.quarantined.push(quarantine(name, path, why)),
            }
        }
        Ok(loaded)
    }

    /// Names of the records that are there, sorted, whether readable or not.
    pub fn names(&self) -> Result<Vec<String>, PersistError> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let file_name = entry?.file_name();
                let stem = file_name
                    .to_str()
                    .and_then(|name| name.strip_suffix(".json"));
                names.extend(stem.filter(|stem| valid(stem)).map(str::to_owned));
            }
            names.sort();
            Ok(names)
        };
        list().map_err(|source| PersistError::Open {
            dir: self.dir.clone(),
            source,
        })
    }

    fn path(&self, name: &str) -> Result<PathBuf, PersistError> {
        if valid(name) {
            return Ok(self.dir.join(format!("{name}.json")));
        }
        Err(PersistError::Name {
            name: name.to_owned(),
        })
    }

    fn express(&self, name: &str, record: &T) -> Result<Vec<u8>, PersistError> {
        let failed = |why: String| PersistError::Express {
            name: name.to_owned(),
            why,
        };
        let value = serde_json::to_value(record).map_err(|error| failed(error.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(failed("it is not a JSON object".into()));
        };
        if fields.contains_key("version") {
            return Err(failed("it has a field named version of its own".into()));
        }
        let mut object = Map::new();
        object.insert("version".into(), self.version.into());
        object.extend(fields);
        let data = serde_json::to_vec(&object).map_err(|error| failed(error.to_string()))?;
        if data.len() as u64 > MAX_RECORD {
            return Err(failed(format!("{} bytes are too many", data.len())));
        }
        Ok(data)
    }

    fn parse(&self, data: &[u8]) -> Result<T, String> {
        let value: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        let Value::Object(mut fields) = value else {
            return Err("not a JSON object".into());
        };
        let version = fields
            .shift_remove("version")
            .and_then(|version| version.as_u64());
        let version = version.ok_or("no version")?;
        if version != self.version {
            fields = (self.upgrade)(version, fields)?;
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
    }
}

/// Letters, digits, `.`, `_`, `-`; no dot first; 1 to 200 bytes.
fn valid(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    File::open(path)?
        .take(MAX_RECORD + 1)
        .read_to_end(&mut data)?;
    if data.len() as u64 > MAX_RECORD {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "too large for a record",
        ));
    }
    Ok(data)
}

/// Removes temporary files of ours; nothing else.
fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_temporary) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Renames a damaged record to the first free `NAME.json.bad-K`.
fn quarantine(name: String, path: PathBuf, why: String) -> Quarantined {
    let aside = (1..10_000)
        .map(|number| path.with_file_name(format!("{name}.json.bad-{number}")))
        .find(|aside| !aside.exists());
    let renamed = aside.filter(|aside| fs::rename(&path, aside).is_ok());
    // Not being durable only means that it is found and set aside again.
    let _ = sync_folder_of(&path);
    Quarantined {
        name,
        path: renamed.unwrap_or(path),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Thing {
        name: String,
        numbers: Vec<u64>,
    }

    fn thing(name: &str) -> Thing {
        Thing {
            name: name.into(),
            numbers: vec![1, u64::MAX],
        }
    }

    fn store(dir: &Path) -> Store<Thing> {
        Store::open(dir.join("things"), 2).unwrap()
    }

    #[test]
    fn put_get_replace_remove() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert_eq!(store.get("a").unwrap(), None);
        store.put("a", &thing("one")).unwrap();
        store.put("a", &thing("two")).unwrap();
        store.put("b-1.x_y", &thing("three")).unwrap();
        assert_eq!(store.get("a").unwrap(), Some(thing("two")));
        let text = fs::read_to_string(store.dir().join("a.json")).unwrap();
        assert!(text.starts_with("{\"version\":2,"), "{text}");
        assert_eq!(store.load_all().unwrap().records.len(), 2);
        assert!(store.remove("a").unwrap());
        assert!(!store.remove("a").unwrap());
        assert_eq!(store.names().unwrap(), ["b-1.x_y"]);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        for name in [
            "",
            ".",
            "..",
            ".a",
            "a/b",
            "../a",
            "a\0",
            "ä",
            &"x".repeat(201),
        ] {
            assert!(
                matches!(store.put(name, &thing("x")), Err(PersistError::Name { .. })),
                "{name}"
            );
            assert!(matches!(store.get(name), Err(PersistError::Name { .. })));
            assert!(matches!(store.remove(name), Err(PersistError::Name { .. })));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_records_are_set_aside_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.put("good", &thing("good")).unwrap();
        let damages: [(&str, &[u8]); 6] = [
            ("cut", b"{\"version\":2,\"name\":\"x"),
            ("empty", b""),
            ("old", b"{\"version\":1,\"name\":\"x\",\"numbers\":[]}"),
            ("none", b"{\"name\":\"x\",\"numbers\":[]}"),
            ("array", b"[]"),
            ("binary", b"\xff\xfe"),
        ];
        for (name, bytes) in damages {
            fs::write(store.dir().join(format!("{name}.json")), bytes).unwrap();
            assert!(
                matches!(store.get(name), Err(PersistError::Damaged { .. })),
                "{name}"
            );
        }
        let loaded = store.load_all().unwrap();
        assert_eq!(
            loaded.records,
            BTreeMap::from([("good".into(), thing("good"))])
        );
        let names: Vec<&str> = loaded.quarantined.iter().map(|q| q.name.as_str()).collect();
        assert_eq!(names, ["array", "binary", "cut", "empty", "none", "old"]);
        for (name, bytes) in damages {
            let aside = store.dir().join(format!("{name}.json.bad-1"));
            assert_eq!(fs::read(aside).unwrap(), bytes, "kept as it was");
        }
        assert!(
            store.load_all().unwrap().quarantined.is_empty(),
            "only once"
        );
        fs::write(store.dir().join("cut.json"), b"again").unwrap();
        let again = store.load_all().unwrap().quarantined;
        assert!(again[0].path.ends_with("cut.json.bad-2"));
    }

    #[test]
    fn a_folder_in_place_of_a_record_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        fs::create_dir(store.dir().join("a.json")).unwrap();
        assert_eq!(store.load_all().unwrap().quarantined.len(), 1);
    }

    #[test]
    fn older_versions_load_through_the_upgrade() {
        let dir = tempfile::tempdir().unwrap();
        let upgrade: Upgrade = |version, mut fields| {
            if version != 1 {
                return Err("too old".into());
            }
            fields.insert("numbers".into(), Value::Array(Vec::new()));
            Ok(fields)
        };
        let store: Store<Thing> = Store::open_with(dir.path(), 2, upgrade).unwrap();
        fs::write(dir.path().join("a.json"), br#"{"version":1,"name":"x"}"#).unwrap();
        fs::write(dir.path().join("b.json"), br#"{"version":0,"name":"x"}"#).unwrap();
        let loaded = store.load_all().unwrap();
        assert_eq!(
            loaded.records["a"],
            Thing {
                name: "x".into(),
                numbers: Vec::new()
            }
        );
        assert_eq!(loaded.quarantined[0].why, "too old");
    }

    #[test]
    fn leftovers_go_at_open_and_strangers_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".a.json.77.0.vdsm-tmp"), b"torn").unwrap();
        fs::write(dir.path().join("README"), b"not ours").unwrap();
        let store: Store<Thing> = Store::open(dir.path(), 1).unwrap();
        let left: Vec<_> = fs::read_dir(store.dir()).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(dir.path().join("README").exists());
    }

    #[test]
    fn what_is_no_object_or_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let numbers: Store<u32> = Store::open(dir.path(), 1).unwrap();
        assert!(matches!(
            numbers.put("a", &1),
            Err(PersistError::Express { .. })
        ));
        let things = store(dir.path());
        let large = Thing {
            name: "x".repeat(MAX_RECORD as usize),
            numbers: Vec::new(),
        };
        assert!(matches!(
            things.put("a", &large),
            Err(PersistError::Express { .. })
        ));
        let versioned: Store<BTreeMap<String, u32>> = Store::open(dir.path(), 1).unwrap();
        let own = BTreeMap::from([("version".to_owned(), 7)]);
        assert!(matches!(
            versioned.put("a", &own),
            Err(PersistError::Express { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_in_a_file_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path());
            fs::write(store.dir().join("a.json"), &bytes).unwrap();
            let loaded = store.load_all().unwrap();
            prop_assert_eq!(loaded.records.len() + loaded.quarantined.len(), 1);
        }

        #[test]
        fn any_record_comes_back(name in "\\PC{0,40}", numbers in prop::collection::vec(any::<u64>(), 0..9)) {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path());
            let record = Thing { name, numbers };
            store.put("a", &record).unwrap();
            prop_assert_eq!(store.get("a").unwrap(), Some(record));
        }
    }
}
