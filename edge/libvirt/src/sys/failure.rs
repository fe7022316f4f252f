//! Owns: libvirt's error of the present thread, copied into plain data. What it means is decided in `crate::errors`.

use super::copy_str;

/// What libvirt said of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `virErrorNumber`.
    pub(crate) code: u32,
    /// `virErrorDomain`: the part of libvirt that failed.
    pub(crate) domain: u32,
    /// The message, already translated by libvirt.
    pub(crate) message: String,
}

/// Answer of a call into libvirt.
pub(crate) type SysResult<T> = Result<T, Failure>;

impl Failure {
    /// The error of the last call that failed on this thread.
    pub(crate) fn last() -> Self {
        // SAFETY: takes nothing; the error it points to belongs to this thread and changes only with the next call.
        let error = unsafe { virt_sys::virGetLastError() };
        if error.is_null() {
            return Self {
                code: virt_sys::VIR_ERR_INTERNAL_ERROR,
                domain: 0,
                message: "libvirt failed without an error".into(),
            };
        }
        // SAFETY: not NULL, and no call into libvirt lies between: the fields are those of the error.
        let (code, domain, message) =
            unsafe { ((*error).code, (*error).domain, copy_str((*error).message)) };
        Self {
            code: code.unsigned_abs(),
            domain: domain.unsigned_abs(),
            message,
        }
    }

    /// An argument that cannot be handed to libvirt.
    pub(crate) fn invalid(why: &str) -> Self {
        Self {
            code: virt_sys::VIR_ERR_INVALID_ARG,
            domain: 0,
            message: why.into(),
        }
    }

    /// Something else that failed on our side of the library.
    pub(crate) fn internal(why: impl Into<String>) -> Self {
        Self {
            code: virt_sys::VIR_ERR_INTERNAL_ERROR,
            domain: 0,
            message: why.into(),
        }
    }
}
