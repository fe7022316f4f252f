//! The file that remembers which network has which routing table, and who else uses tables.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use net_model::Tables;

/// Most bytes that are read of a file.
const MOST: u64 = 16 << 20;

/// Where iproute2 names tables.
const NAMED: [&str; 2] = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];
const NAMED_DIR: &str = "/etc/iproute2/rt_tables.d";

/// Reads the file. One that makes no sense is set aside, and tables are allotted anew.
pub(crate) fn load(path: &Path) -> io::Result<Tables> {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tables::default()),
        Err(error) => return Err(error),
    };
    match Tables::decode(&bytes) {
        Ok(tables) => Ok(tables),
        Err(error) => {
            let aside = aside(path);
            tracing::error!(%error, aside = %aside.display(), "the file of routing tables is set aside");
            std::fs::rename(path, aside)?;
            Ok(Tables::default())
        }
    }
}

/// Writes the file, if it does not say so already.
pub(crate) fn save(path: &Path, tables: &Tables) -> io::Result<()> {
    let text = tables.encode();
    if read(path).is_ok_and(|it| it == text.as_bytes()) {
        return Ok(());
    }
    persist::write_atomic(path, text.as_bytes(), 0o644)
}

/// Tables that have a name: an administrator's.
pub(crate) fn named() -> BTreeSet<u32> {
    let mut files: Vec<PathBuf> = NAMED.iter().map(PathBuf::from).collect();
    if let Ok(entries) = std::fs::read_dir(NAMED_DIR) {
        files.extend(entries.filter_map(|it| Some(it.ok()?.path())));
    }
    let texts = files.iter().filter_map(|it| read(it).ok());
    texts
        .flat_map(|it| numbers(&String::from_utf8_lossy(&it)))
        .collect()
}

/// `NUMBER NAME` a line, numbers as C writes them.
fn numbers(text: &str) -> Vec<u32> {
    let words = text.lines().filter_map(|it| it.split_whitespace().next());
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    words.filter_map(number).collect()
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".bad");
    path.with_file_name(name)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_read_as_iproute2_does() {
        let text = "# reserved\n255\tlocal\n0x10 ten\n#1 inr\n\n  42 x\nbad line\n";
        assert_eq!(numbers(text), [255, 16, 42]);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_set_aside() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tables.json");
        assert_eq!(load(&path).expect("none"), Tables::default());
        std::fs::write(&path, "{").expect("written");
        assert_eq!(load(&path).expect("set aside"), Tables::default());
        assert!(dir.path().join("tables.json.bad").exists() && !path.exists());
        save(&path, &Tables::default()).expect("written");
        assert_eq!(load(&path).expect("read"), Tables::default());
    }
}
