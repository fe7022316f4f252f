//! Which file system a path is on, without asking the file system (which may hang).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of a path: beneath a folder of mounts, the entry there (it may be a link to anywhere, as
/// local-directory storage is); else the deepest mount point above it; else `/`.
pub(crate) fn root_of(path: &Path, mount_dirs: &[PathBuf], mount_points: &[PathBuf]) -> PathBuf {
    let entry = |dir: &PathBuf| {
        let inside = path.strip_prefix(dir).ok()?.components().next()?;
        Some(dir.join(inside))
    };
    let entries = mount_dirs.iter().filter_map(entry);
    let above = mount_points
        .iter()
        .filter(|point| path.starts_with(point))
        .cloned();
    let deepest = |paths: &mut dyn Iterator<Item = PathBuf>| {
        paths.max_by_key(|path| path.components().count())
    };
    deepest(&mut entries.into_iter())
        .or_else(|| deepest(&mut above.into_iter()))
        .unwrap_or("/".into())
}

/// The mount points of this process. Reading them never touches the mounted file systems.
pub(crate) fn mount_points() -> Vec<PathBuf> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n')
        .filter_map(mount_point)
        .collect()
}

/// The fifth field of a line, with its octal escapes resolved.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            path.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?, rest.next()?];
        let text = std::str::from_utf8(&digits).ok()?.to_owned();
        path.push(u8::from_str_radix(&text, 8).ok()?);
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn roots() {
        let dirs = paths(&["/rhev/data-center/mnt", "/rhev/data-center/mnt/glusterSD"]);
        let mounts = paths(&["/", "/rhev", "/data"]);
        let rows = [
            (
                "/rhev/data-center/mnt/_data_x/uuid/dom_md/ids",
                "/rhev/data-center/mnt/_data_x",
            ),
            (
                "/rhev/data-center/mnt/glusterSD/h:_v/a",
                "/rhev/data-center/mnt/glusterSD/h:_v",
            ),
            ("/rhev/other", "/rhev"),
            ("/data/a/b", "/data"),
            ("/database/a", "/"),
            ("/rhev/data-center/mnt", "/rhev"),
        ];
        for (path, root) in rows {
            assert_eq!(
                root_of(Path::new(path), &dirs, &mounts),
                Path::new(root),
                "{path}"
            );
        }
        assert_eq!(root_of(Path::new("/x"), &[], &[]), Path::new("/"));
    }

    #[test]
    fn lines_of_mountinfo() {
        let line = b"36 35 98:0 /mnt1 /mnt/with\\040blank rw,noatime - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/mnt/with blank")));
        assert!(mount_points().contains(&PathBuf::from("/")));
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = mount_point(&line);
        }
    }
}
