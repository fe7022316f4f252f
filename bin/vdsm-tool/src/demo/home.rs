//! The demo's folder. States: there, ended (idempotent). Dropping it ends what runs beneath it.

use std::{cell::Cell, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    cli::DownArgs,
    dev::{self, Ended},
    output,
};

/// A folder of its own beneath /tmp: short, because sockets lie in it.
pub(crate) struct Home {
    args: DownArgs,
    ended: Cell<bool>,
}

impl Home {
    /// Makes it. With `keep` only the processes end with it, the files stay.
    pub(crate) fn make(keep: bool) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("vdsm-demo.")
            .tempdir_in("/tmp")
            .context("cannot make a folder in /tmp")?
            .keep();
        Ok(Self {
            args: DownArgs { dir, remove: !keep },
            ended: Cell::new(false),
        })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.args.dir
    }

    /// Ends what runs beneath it, and removes it.
    pub(crate) fn end(&self) -> Result<Ended> {
        let ended = dev::stop(&self.args)?;
        self.ended.set(true);
        Ok(ended)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.ended.get() {
            return;
        }
        // Before the agent's folder is made up there is nothing but an empty folder.
        let _ = std::fs::remove_dir(self.dir());
        match self.end() {
            Ok(ended) => output::note(&format!("cleaned up: {ended}")),
            Err(error) => output::problem(&format!(
                "cannot clean up {}: {error:#}",
                self.dir().display()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_it_leaves_nothing() {
        let home = Home::make(false).unwrap();
        let dir = home.dir().to_owned();
        assert!(dir.is_dir());
        drop(home);
        assert!(!dir.exists());
    }
}
