//! Owns: every call into the C library, as handles that free themselves and functions without `unsafe` in their
//! signature. No policy, no deadlines: any function here may block as long as libvirt pleases.
//!
//! - `conn`: connections, opening and closing; `domain`: domains; `network`: networks; `stream`: streams of bytes; `records`: bulk
//!   statistics and typed parameters; `callbacks`: what libvirt calls; `event_loop`: the thread that lets it.
//! - `failure`: libvirt's error of this thread.

pub(crate) mod callbacks;
pub(crate) mod conn;
pub(crate) mod domain;
pub(crate) mod event_loop;
pub(crate) mod failure;
pub(crate) mod host;
pub(crate) mod network;
pub(crate) mod records;
pub(crate) mod stream;

use std::{
    ffi::{CStr, CString},
    sync::OnceLock,
};

use libc::{c_char, c_void};

use self::failure::{Failure, SysResult};

/// libvirt prints every error to stderr unless it is given another place; every error is returned anyway.
extern "C" fn swallow_error(_opaque: *mut c_void, _error: virt_sys::virErrorPtr) {}

/// Prepares the library, once per process: errors silenced, event loop registered (which must come before the first
/// connection).
pub(crate) fn init() -> SysResult<()> {
    static DONE: OnceLock<SysResult<()>> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: virInitialize takes nothing and may be called at any time.
        if unsafe { virt_sys::virInitialize() } < 0 {
            return Err(Failure::last());
        }
        // SAFETY: the handler lives as long as the program and uses neither of its arguments.
        unsafe { virt_sys::virSetErrorFunc(std::ptr::null_mut(), Some(swallow_error)) };
        // SAFETY: called once, before any connection, and no other event loop is registered in this process since
        // this crate is the only one that links libvirt.
        if unsafe { virt_sys::virEventRegisterDefaultImpl() } < 0 {
            return Err(Failure::last());
        }
        Ok(())
    })
    .clone()
}

/// `text` for C.
fn c_string(text: &str) -> SysResult<CString> {
    CString::new(text).map_err(|_| Failure::invalid("a NUL byte in the text"))
}

/// `text` for C, where `None` becomes NULL (see [`c_ptr`]).
fn c_opt(text: Option<&str>) -> SysResult<Option<CString>> {
    text.map(c_string).transpose()
}

/// The pointer of an optional text; valid as long as `text` is.
fn c_ptr(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}

/// Copies a string that libvirt keeps.
///
/// # Safety
/// `text` is NULL or points to a NUL-terminated string that lives through this call.
unsafe fn copy_str(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, and NUL-terminated by this function's contract.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Copies a string that libvirt gave away and frees it. NULL is the failure of the call that returned it.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string from malloc that nobody else owns.
unsafe fn take_str(text: *mut c_char) -> SysResult<String> {
    if text.is_null() {
        return Err(Failure::last());
    }
    // SAFETY: NUL-terminated by this function's contract.
    let copy = unsafe { copy_str(text) };
    // SAFETY: it comes from malloc, is owned by us and not used any more.
    unsafe { libc::free(text.cast()) };
    Ok(copy)
}

/// The answer of a call that returns -1 on failure.
fn check(answer: libc::c_int) -> SysResult<libc::c_int> {
    if answer < 0 {
        Err(Failure::last())
    } else {
        Ok(answer)
    }
}
