//! Reads `vdsm.conf` and its drop-ins from disk; their meaning is in the crate `config`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use config::{Config, DEFAULT_FILE, DROPIN_DIRS, Loaded, Source};

/// The configuration of this start. A file named by the caller is read alone; without one the default file
/// (which may be missing) and all drop-ins are.
pub(crate) fn load(file: Option<&Path>) -> Result<Loaded> {
    let sources = match file {
        Some(path) => vec![read(path).with_context(|| format!("cannot read {}", path.display()))?],
        None => installed()?,
    };
    Ok(Config::load(&sources)?)
}

fn installed() -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    for folder in DROPIN_DIRS {
        paths.extend(dropins(Path::new(folder))?);
    }
    config::dropin_order(&mut paths);
    paths.insert(0, PathBuf::from(DEFAULT_FILE));
    let mut sources = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(source) => sources.push(source),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(sources)
}

fn dropins(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", folder.display()));
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn read(path: &Path) -> io::Result<Source> {
    Ok(Source::new(
        path.display().to_string(),
        fs::read_to_string(path)?,
    ))
}
