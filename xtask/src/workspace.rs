//! The crates of the workspace and who depends on whom, from `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// One crate of the workspace.
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its layer: the folder above it (`model`, `domain`, `edge`, `root`, `bin`, `lab`), or `xtask`.
    pub(crate) layer: String,
    /// Its folder, relative to the root of the workspace.
    pub(crate) folder: PathBuf,
    /// What its shipped code depends on, crates of the workspace and others.
    pub(crate) dependencies: BTreeSet<String>,
}

/// The whole workspace.
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// All crates by name.
    pub(crate) crates: BTreeMap<String, Crate>,
}

impl Workspace {
    /// Asks cargo, offline and locked.
    pub(crate) fn load() -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "xtask is not shipped and has no crate below it"
        )]
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--no-deps",
                "--offline",
                "--locked",
            ])
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Self::parse(&serde_json::from_slice(&output.stdout)?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let root = PathBuf::from(text(metadata, "workspace_root")?);
        let packages = metadata["packages"].as_array().context("no packages")?;
        let crates = packages
            .iter()
            .map(|package| Crate::parse(package, &root).map(|it| (it.name.clone(), it)))
            .collect::<Result<_>>()?;
        Ok(Self { root, crates })
    }

    /// All that a crate reaches through crates of the workspace, itself left out.
    pub(crate) fn reach(&self, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            for dependency in self
                .crates
                .get(&next)
                .into_iter()
                .flat_map(|it| &it.dependencies)
            {
                if seen.insert(dependency.clone()) {
                    open.push(dependency.clone());
                }
            }
        }
        seen
    }

    /// The graph as text: a line a crate, its dependencies within the workspace behind it.
    pub(crate) fn graph(&self) -> String {
        let mut lines: Vec<_> = self.crates.values().collect();
        lines.sort_by(|a, b| a.folder.cmp(&b.folder));
        let mut out = String::new();
        for it in lines {
            let inner: Vec<_> = it
                .dependencies
                .iter()
                .filter_map(|name| self.crates.get(name))
                .map(|dependency| dependency.folder.display().to_string())
                .collect();
            let _ = write!(out, "{}", it.folder.display());
            if !inner.is_empty() {
                let _ = write!(out, " -> {}", inner.join(" "));
            }
            out.push('\n');
        }
        out
    }
}

impl Crate {
    fn parse(package: &Value, root: &Path) -> Result<Self> {
        let manifest = PathBuf::from(text(package, "manifest_path")?);
        let folder = manifest
            .parent()
            .context("no folder")?
            .strip_prefix(root)?
            .to_owned();
        let layer = folder.components().next().context("no layer")?;
        let dependencies = package["dependencies"]
            .as_array()
            .context("no dependencies")?
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| text(dependency, "name"))
            .collect::<Result<_>>()?;
        Ok(Self {
            name: text(package, "name")?,
            layer: layer.as_os_str().to_string_lossy().into_owned(),
            folder,
            dependencies,
        })
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("cargo metadata: no {key}"))
}
