//! Long writes, in steps that each have a deadline: allocating blocks and overwriting with zeroes.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{FallocateFlags, OFlags, fallocate},
    io::Errno,
};

use crate::direct::{ALIGN, Aligned, flags};

/// Bytes of one step of fallocate: quick on any server, and a full disk or an end asked for is told soon.
pub(crate) const ALLOCATE_STEP: u64 = 128 << 20;
/// Bytes of one step of writing.
pub(crate) const WRITE_STEP: u64 = 16 << 20;
/// Bytes of one write.
const BUFFER: usize = 1 << 20;

/// A file that is written in steps; never through a link.
pub(crate) struct Target {
    /// Direct, if the file system knows it.
    direct: Option<File>,
    cached: File,
}

impl Target {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let open = |more: OFlags| {
            let mut options = File::options();
            options
                .read(true)
                .write(true)
                .custom_flags(flags(OFlags::NOFOLLOW | more))
                .open(path)
        };
        let cached = open(OFlags::empty())?;
        Ok(Self {
            direct: open(OFlags::DIRECT).ok(),
            cached,
        })
    }

    pub(crate) fn size(&self) -> io::Result<u64> {
        Ok(self.cached.metadata()?.len())
    }

    /// Allocates; false if the file system cannot, and it must be done by writing.
    pub(crate) fn fallocate(&self, offset: u64, length: u64) -> io::Result<bool> {
        match fallocate(&self.cached, FallocateFlags::empty(), offset, length) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes zeroes, whatever was there.
    pub(crate) fn write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        let zeroes = Aligned::new(BUFFER);
        self.each(offset, length, &mut |file, at, size| {
            file.write_all_at(zeroes.as_slice().get(..size).unwrap_or_default(), at)
        })
    }

    /// Writes what is there again, and zeroes beyond the end: allocates without changing anything.
    pub(crate) fn rewrite(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut buffer = Aligned::new(BUFFER);
        self.each(offset, length, &mut |file, at, size| {
            let bytes = buffer.as_mut().get_mut(..size).unwrap_or_default();
            read_with_zeroes(file, bytes, at)?;
            file.write_all_at(bytes, at)
        })
    }

    /// Calls with pieces of at most a buffer; direct where offset and size allow.
    fn each(
        &self,
        offset: u64,
        length: u64,
        write: &mut dyn FnMut(&File, u64, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let at = offset + done;
            let size = usize::try_from(length - done).unwrap_or(BUFFER).min(BUFFER);
            let whole = size - size % ALIGN;
            match &self.direct {
                Some(file) if at.is_multiple_of(ALIGN as u64) && whole > 0 => {
                    write(file, at, whole)?;
                    done += whole as u64;
                }
                _ => {
                    let to_block = ALIGN - usize::try_from(at % ALIGN as u64).unwrap_or(0);
                    let part = if self.direct.is_some() {
                        size.min(to_block)
                    } else {
                        size
                    };
                    write(&self.cached, at, part)?;
                    done += part as u64;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.cached.sync_all()
    }
}

/// Fills the buffer from the file; beyond its end with zeroes.
fn read_with_zeroes(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => {
                rest.fill(0);
                return Ok(());
            }
            Ok(count) => {
                filled += count;
                // A direct read that ends within a block has reached the end of the file.
                if !filled.is_multiple_of(ALIGN) {
                    bytes.get_mut(filled..).unwrap_or_default().fill(0);
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The steps of a range: offset and length of each.
pub(crate) fn steps(offset: u64, length: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let size = step.min(length - done);
        let next = (offset + done, size);
        done += size;
        (size > 0).then_some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn steps_cover_the_range(offset in 0_u64..1000, length in 0_u64..1000, step in 1_u64..300) {
            let mut at = offset;
            for (start, size) in steps(offset, length, step) {
                prop_assert!(start == at && size > 0 && size <= step);
                at += size;
            }
            prop_assert_eq!(at, offset + length);
        }

        #[test]
        fn rewriting_changes_nothing_and_zeroing_only_its_range(
            content in prop::collection::vec(any::<u8>(), 0..20_000),
            offset in 0_u64..12_000,
            length in 0_u64..12_000,
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &content).unwrap();
            let target = Target::open(file.path()).unwrap();
            target.rewrite(offset, length).unwrap();
            let end = usize::try_from(offset + length).unwrap();
            let mut wanted = content.clone();
            if length > 0 && wanted.len() < end {
                wanted.resize(end, 0);
            }
            prop_assert!(std::fs::read(file.path()).unwrap() == wanted);
            target.write_zeroes(offset, length).unwrap();
            if length > 0 {
                wanted[usize::try_from(offset).unwrap()..end].fill(0);
            }
            prop_assert!(std::fs::read(file.path()).unwrap() == wanted);
        }
    }
}
