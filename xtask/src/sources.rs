//! The Rust sources of the workspace, split into shipped code and tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// One source file.
pub(crate) struct Source {
    /// Path relative to the root of the workspace.
    pub(crate) path: PathBuf,
    /// Crate that it belongs to.
    pub(crate) krate: String,
    /// Layer of that crate.
    pub(crate) layer: String,
    /// Does it belong to tests, benches or examples as a whole?
    pub(crate) test: bool,
    /// The text of the file.
    pub(crate) text: String,
}

impl Source {
    /// Numbered lines of shipped code: comments and the module `tests` at the end are left out.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self
            .text
            .find("#[cfg(test)]\nmod ")
            .unwrap_or(self.text.len());
        let end = if self.test { 0 } else { end };
        self.text[..end]
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Reads all sources of all crates.
pub(crate) fn load(workspace: &Workspace) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for it in workspace.crates.values() {
        let mut paths = Vec::new();
        collect(&workspace.root.join(&it.folder), &mut paths)?;
        for path in paths {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(&workspace.root)?.to_owned();
            let test = is_test(path.strip_prefix(&it.folder)?);
            found.push(Source {
                path,
                krate: it.name.clone(),
                layer: it.layer.clone(),
                test,
                text,
            });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn is_test(inside: &Path) -> bool {
    let first = inside
        .components()
        .next()
        .map(|it| it.as_os_str().to_string_lossy().into_owned());
    matches!(
        first.as_deref(),
        Some("tests" | "benches" | "examples" | "fuzz")
    ) || inside.file_name().is_some_and(|name| name == "tests.rs")
        || inside.components().any(|it| it.as_os_str() == "tests")
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, found)?;
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
