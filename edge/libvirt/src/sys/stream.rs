//! Owns: streams of bytes from the hypervisor. States: open → finished (all read) or aborted (dropped before).

use std::{marker::PhantomData, ptr::NonNull, time::Instant};

use virt_sys::_virStream;
use vm_model::ports::Screenshot;

use super::{
    check,
    conn::Conn,
    domain::Domain,
    failure::{Failure, SysResult},
    take_str,
};

/// Bytes asked for at once: what a message of libvirt's protocol carries at most (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX).
const CHUNK: usize = 256 * 1024;

struct Stream<'c> {
    ptr: NonNull<_virStream>,
    /// True while the other end may still send.
    open: bool,
    _conn: PhantomData<&'c Conn>,
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: the stream lives. Nothing can be done about a failure.
            let _ = unsafe { virt_sys::virStreamAbort(self.ptr.as_ptr()) };
        }
        // SAFETY: the one reference that this handle owns, given back once.
        unsafe { virt_sys::virStreamFree(self.ptr.as_ptr()) };
    }
}

impl<'c> Stream<'c> {
    fn new(conn: &'c Conn) -> SysResult<Self> {
        // SAFETY: the connection is open.
        let ptr = unsafe { virt_sys::virStreamNew(conn.ptr(), 0) };
        let ptr = NonNull::new(ptr).ok_or_else(Failure::last)?;
        Ok(Self {
            ptr,
            open: false,
            _conn: PhantomData,
        })
    }

    /// Reads some bytes onto the end of `data`; 0 is the end.
    fn receive(&mut self, buffer: &mut [u8], data: &mut Vec<u8>) -> SysResult<usize> {
        // SAFETY: the stream lives and blocks; libvirt writes at most the length given into our buffer.
        let answer = unsafe {
            virt_sys::virStreamRecv(self.ptr.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
        };
        if answer < 0 {
            // libvirt ends a stream that failed by itself.
            self.open = false;
            return Err(Failure::last());
        }
        let count = answer.unsigned_abs() as usize;
        data.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn read_all(&mut self, limit: usize, until: Instant) -> SysResult<Vec<u8>> {
        let mut buffer = vec![0_u8; CHUNK];
        let mut data = Vec::new();
        while self.receive(&mut buffer, &mut data)? > 0 {
            if data.len() > limit {
                return Err(Failure::internal(format!(
                    "the stream is longer than {limit} bytes"
                )));
            }
            if Instant::now() > until {
                return Err(Failure::internal("the stream takes too long"));
            }
        }
        self.open = false;
        // SAFETY: the stream lives and all of it was read.
        check(unsafe { virt_sys::virStreamFinish(self.ptr.as_ptr()) })?;
        Ok(data)
    }
}

/// Picture of the first console, of at most `limit` bytes. Gives up between two messages once `until` has passed.
pub(crate) fn screenshot(
    conn: &Conn,
    domain: &Domain<'_>,
    limit: usize,
    until: Instant,
) -> SysResult<Screenshot> {
    let mut stream = Stream::new(conn)?;
    // SAFETY: domain and stream live and belong to the same connection; the answer is ours.
    let mime = unsafe {
        take_str(virt_sys::virDomainScreenshot(
            domain.ptr(),
            stream.ptr.as_ptr(),
            0,
            0,
        ))
    }?;
    stream.open = true;
    let data = stream.read_all(limit, until)?;
    Ok(Screenshot { mime, data })
}
