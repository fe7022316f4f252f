//! The files of [`crate::storage::StorageWorld`]: folders, files with hard links, symbolic links.
//!
//! Small contents are kept; of large files only the size and how much is allocated.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use storage_model::ports::{FileKind, FileStat, Files, Space};

use crate::storage::{Go, State, StorageWorld, killed};

const MAX_LINKS: usize = 20;
const MAX_READ: u64 = 1024 * 1024;
const CHUNK: u64 = 1024 * 1024;

/// One name.
#[derive(Debug, Clone)]
enum Node {
    Dir(u32),
    File(u64),
    Link(PathBuf),
}

/// A file's content, for all its names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inode {
    pub(crate) data: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) allocated: u64,
    mode: u32,
}

/// All names and contents.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    inodes: BTreeMap<u64, Inode>,
    next: u64,
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Tree {
    pub(crate) fn make_dirs(&mut self, path: &Path) {
        for dir in path.ancestors() {
            self.nodes
                .entry(dir.to_path_buf())
                .or_insert(Node::Dir(0o755));
        }
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|(path, node)| match node {
                Node::Dir(_) => format!("{}/", path.display()),
                Node::File(_) => path.display().to_string(),
                Node::Link(target) => format!("{} -> {}", path.display(), target.display()),
            })
            .collect()
    }

    pub(crate) fn scribble(&mut self, path: &Path, data: &[u8]) {
        if let Ok(inode) = self.inode_mut(path) {
            data.clone_into(&mut inode.data);
            inode.size = data.len() as u64;
        }
    }

    /// The path without links in its folders; its last name is left as it is.
    pub(crate) fn resolve_parents(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolve(path, false)
    }

    fn resolve(&self, path: &Path, follow_last: bool) -> io::Result<PathBuf> {
        let mut left: Vec<OsString> = names(path);
        left.reverse();
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = left.pop() {
            let next = real.join(&name);
            match self.nodes.get(&next) {
                Some(Node::Link(target)) if !left.is_empty() || follow_last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::other("too many links"));
                    }
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    left.extend(names(target).into_iter().rev());
                }
                Some(Node::File(_)) if !left.is_empty() => {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                None if !left.is_empty() => return Err(missing()),
                _ => real = next,
            }
        }
        Ok(real)
    }

    fn node(&self, path: &Path, follow: bool) -> io::Result<(PathBuf, &Node)> {
        let real = self.resolve(path, follow)?;
        let node = self.nodes.get(&real).ok_or_else(missing)?;
        Ok((real, node))
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.node(path, true)?.1 {
            Node::File(id) => Ok(*id),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(crate) fn inode(&self, path: &Path) -> io::Result<&Inode> {
        self.inodes.get(&self.file(path)?).ok_or_else(missing)
    }

    pub(crate) fn inode_mut(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let id = self.file(path)?;
        self.inodes.get_mut(&id).ok_or_else(missing)
    }

    /// A free name in a folder that is there.
    fn free(&self, path: &Path) -> io::Result<PathBuf> {
        let real = self.resolve_parents(path)?;
        if self.nodes.contains_key(&real) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match real.parent().and_then(|p| self.nodes.get(p)) {
            Some(Node::Dir(_)) => Ok(real),
            _ => Err(missing()),
        }
    }

    fn insert(&mut self, path: &Path, inode: Inode) -> io::Result<()> {
        let real = self.free(path)?;
        self.next += 1;
        self.inodes.insert(self.next, inode);
        self.nodes.insert(real, Node::File(self.next));
        Ok(())
    }

    fn children(&self, real: &Path) -> Vec<PathBuf> {
        let below = self.nodes.keys().filter(|p| p.parent() == Some(real));
        below.cloned().collect()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, node) = self.node(from, false).map(|(p, n)| (p, n.clone()))?;
        let to = self.resolve_parents(to)?;
        match (&node, self.nodes.get(&to)) {
            (Node::Dir(_), Some(Node::Dir(_))) if self.children(&to).is_empty() => {}
            (Node::Dir(_), Some(_)) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            _ => {}
        }
        let moved: Vec<PathBuf> = self
            .nodes
            .keys()
            .filter(|p| p.starts_with(&from))
            .cloned()
            .collect();
        for old in moved {
            let rest = old
                .strip_prefix(&from)
                .map(Path::to_path_buf)
                .unwrap_or_default();
            let new = if rest.as_os_str().is_empty() {
                to.clone()
            } else {
                to.join(rest)
            };
            if let Some(node) = self.nodes.remove(&old) {
                self.nodes.insert(new, node);
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path, dir: bool) -> io::Result<()> {
        let (real, node) = self.node(path, false).map(|(p, n)| (p, n.clone()))?;
        match (&node, dir) {
            (Node::Dir(_), false) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Dir(_), true) if !self.children(&real).is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            (Node::File(_) | Node::Link(_), true) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            _ => {}
        }
        self.nodes.remove(&real);
        Ok(())
    }
}

fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect()
}

fn beside(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    PathBuf::from(new)
}

fn content(data: &[u8], mode: u32) -> Inode {
    let size = data.len() as u64;
    Inode {
        data: data.to_vec(),
        size,
        allocated: size.next_multiple_of(4096),
        mode,
    }
}

impl StorageWorld {
    /// A call of one step: all of it or nothing.
    fn step<T>(&self, path: &Path, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        match self.enter(path)? {
            (mut state, Go::On) => act(&mut state),
            (_, Go::Halfway) => Err(killed()),
        }
    }

    fn change<T>(
        &self,
        path: &Path,
        act: impl FnOnce(&mut Tree) -> io::Result<T>,
    ) -> io::Result<T> {
        self.step(path, |state| {
            state.writable()?;
            act(&mut state.tree)
        })
    }

    /// Puts a node in place of another: beside it first, as `<path>.new`, then renamed.
    fn replace(&self, path: &Path, node: impl FnOnce(&Tree) -> io::Result<Node>) -> io::Result<()> {
        let (mut state, go) = self.enter(path)?;
        state.writable()?;
        let node = node(&state.tree)?;
        let new = beside(path);
        let _ = state.tree.remove(&new, false);
        let real = state.tree.free(&new)?;
        state.tree.nodes.insert(real, node);
        if go == Go::Halfway {
            return Err(killed());
        }
        state.tree.rename(&new, path)
    }

    /// A long call: in chunks, asking before each whether to go on.
    fn long(
        &self,
        path: &Path,
        length: u64,
        progress: &mut dyn FnMut(u64) -> bool,
        chunk: impl Fn(&mut Inode, u64),
    ) -> io::Result<()> {
        let (mut state, go) = self.enter(path)?;
        state.growable()?;
        let mut done = 0;
        while done < length {
            let next = (done + CHUNK.max(length / 16)).min(length);
            chunk(state.tree.inode_mut(path)?, next);
            done = next;
            if go == Go::Halfway && done >= length / 2 {
                return Err(killed());
            }
            if !progress(done) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }
}

impl Files for StorageWorld {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.step(path, |state| {
            let inode = state.tree.inode(path)?;
            if inode.size > MAX_READ {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(inode.data.clone())
        })
    }

    fn write_atomic(&self, path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
        let (mut state, go) = self.enter(path)?;
        state.growable()?;
        let new = beside(path);
        let kept = if go == Go::Halfway {
            data.get(..data.len() / 2)
        } else {
            Some(data)
        };
        let _ = state.tree.remove(&new, false);
        state
            .tree
            .insert(&new, content(kept.unwrap_or_default(), mode))?;
        if go == Go::Halfway {
            return Err(killed());
        }
        state.tree.rename(&new, path)
    }

    fn create(&self, path: &Path, size: u64, mode: u32) -> io::Result<()> {
        self.step(path, |state| {
            state.growable()?;
            state.tree.insert(
                path,
                Inode {
                    size,
                    mode,
                    ..Inode::default()
                },
            )
        })
    }

    fn truncate(&self, path: &Path, size: u64) -> io::Result<()> {
        self.change(path, |tree| {
            tree.inode_mut(path)?.size = size;
            Ok(())
        })
    }

    fn allocate(
        &self,
        path: &Path,
        offset: u64,
        length: u64,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<()> {
        self.long(path, length, progress, |inode, done| {
            inode.size = inode.size.max(offset + done);
            inode.allocated = inode.allocated.max(offset + done);
        })
    }

    fn zero(&self, path: &Path, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        let length = self.state().tree.inode(path)?.size;
        self.long(path, length, progress, |inode, _| inode.data.clear())
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.change(path, |tree| {
            let real = tree.free(path)?;
            tree.nodes.insert(real, Node::Dir(mode));
            Ok(())
        })
    }

    fn hard_link(&self, existing: &Path, link: &Path) -> io::Result<()> {
        self.replace(link, |tree| tree.file(existing).map(Node::File))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.change(path, |tree| {
            tree.inode_mut(path)?.mode = mode;
            Ok(())
        })
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.replace(link, |_| Ok(Node::Link(target.to_path_buf())))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.step(path, |state| match state.tree.node(path, false)?.1 {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.step(path, |state| {
            let (real, node) = state.tree.node(path, true)?;
            if !matches!(node, Node::Dir(_)) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let below = state.tree.children(&real);
            let names = below.iter().filter_map(|p| p.file_name());
            Ok(names.map(|n| n.to_string_lossy().into_owned()).collect())
        })
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.step(path, |state| {
            let (is_dir, inode) = match state.tree.node(path, true)?.1 {
                Node::Dir(mode) => (
                    true,
                    Inode {
                        mode: *mode,
                        ..Inode::default()
                    },
                ),
                _ => (false, state.tree.inode(path)?.clone()),
            };
            let (size, allocated, mode) = (inode.size, inode.allocated, inode.mode);
            Ok(FileStat {
                is_dir,
                size,
                allocated,
                mtime: 1_700_000_000,
                mode,
            })
        })
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        self.step(path, |state| {
            Ok(match state.tree.node(path, false)?.1 {
                Node::Dir(_) => FileKind::Dir,
                Node::File(_) => FileKind::File,
                Node::Link(_) => FileKind::Symlink,
            })
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(from, |tree| tree.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.remove(path, false))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.remove(path, true))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.step(path, |state| {
            state.tree.node(path, true)?;
            let free = if state.full { 0 } else { 1 << 39 };
            Ok(Space {
                total: 1 << 40,
                free,
            })
        })
    }

    fn check_access(&self, path: &Path) -> io::Result<()> {
        self.step(path, |state| {
            state.tree.node(path, true)?;
            if state.foreign.contains(path) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            state.writable()
        })
    }

    fn read_delay(&self, path: &Path) -> io::Result<f64> {
        self.step(path, |state| state.tree.inode(path).map(|_| 0.000_25))
    }

    fn probe_block_size(&self, dir: &Path) -> io::Result<u32> {
        self.step(dir, |state| {
            state.tree.node(dir, true)?;
            state.growable()?;
            Ok(state.block_size.unwrap_or(512))
        })
    }
}
