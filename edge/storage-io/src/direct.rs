//! Direct I/O: aligned buffers, uncached reads, the block size of a file system.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    time::Instant,
};

use rustix::{fs::OFlags, io::Errno};
use uuid::Uuid;

/// Alignment that every storage accepts.
pub(crate) const ALIGN: usize = 4096;

/// Bytes of the largest file that is read whole.
pub(crate) const MAX_READ: usize = 1 << 20;

/// Bytes at an address that direct I/O accepts.
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Zeroes.
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { bytes, start, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.start..self.start + self.len)
            .unwrap_or_default()
    }
}

pub(crate) fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Opens for direct reading; cached where the file system knows nothing else.
fn open_direct(path: &Path) -> io::Result<File> {
    match File::options()
        .read(true)
        .custom_flags(flags(OFlags::DIRECT))
        .open(path)
    {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => File::open(path),
        result => result,
    }
}

/// Reads a whole small file past the cache: on shared storage another host may just have written it.
pub(crate) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_direct(path)?;
    let mut buffer = Aligned::new(MAX_READ + ALIGN);
    let mut filled = 0;
    loop {
        let rest = buffer.as_mut().get_mut(filled..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let count = match file.read_at(rest, filled as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        filled += count;
        // A short direct read is the end of the file; only whole blocks could be followed by more.
        if count == 0 || !filled.is_multiple_of(ALIGN) {
            break;
        }
    }
    if filled > MAX_READ {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is larger than 1 MiB",
        ));
    }
    Ok(buffer.as_slice().get(..filled).unwrap_or_default().to_vec())
}

/// Seconds that one direct read of the first block takes, as upstream's `dd bs=4096 count=1 iflag=direct`.
pub(crate) fn read_delay(path: &Path) -> io::Result<f64> {
    let file = File::options()
        .read(true)
        .custom_flags(flags(OFlags::DIRECT))
        .open(path)?;
    let mut block = Aligned::new(ALIGN);
    let started = Instant::now();
    file.read_at(block.as_mut(), 0)?;
    Ok(started.elapsed().as_secs_f64())
}

/// The smallest direct write that a folder's file system takes: 1 (it does not care), 512 or 4096; tried on a
/// file of no name. `InvalidInput` (EINVAL) if there is no direct I/O.
pub(crate) fn probe_block_size(dir: &Path) -> io::Result<u32> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let how = OFlags::DIRECT | OFlags::DSYNC;
    let nameless = options.custom_flags(flags(how | OFlags::TMPFILE)).open(dir);
    let file = nameless.or_else(|_| named_for_a_moment(dir, options.custom_flags(flags(how))))?;
    let buffer = Aligned::new(ALIGN);
    for size in [1_u16, 512, 4096] {
        let bytes = buffer
            .as_slice()
            .get(..usize::from(size))
            .unwrap_or_default();
        match rustix::io::retry_on_intr(|| rustix::io::pwrite(file.as_fd(), bytes, 0)) {
            Ok(_) => return Ok(size.into()),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::INVAL.into())
}

/// As upstream's ioprocess, where files cannot be without names (NFS): a hidden one is made and unlinked at once.
fn named_for_a_moment(dir: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let path = dir.join(format!(".prob-{}", Uuid::new_v4()));
    let file = options
        .create_new(true)
        .open(&path)
        .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
