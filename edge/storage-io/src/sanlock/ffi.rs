//! The client library of sanlock: its structures and functions, as the installed headers (`sanlock.h`,
//! `sanlock_admin.h`, `sanlock_resource.h` of sanlock 3.8) declare them, behind a safe surface.
#![allow(unsafe_code, reason = "a C library that is opened at run time")]

use std::{
    ffi::{CStr, CString, c_char, c_int},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use storage_model::ports::HostLease;

/// `SANLK_NAME_LEN`: a name may fill it, there need be no zero at its end.
const NAME_LEN: usize = 48;
/// `SANLK_PATH_LEN`: with the zero at its end.
const PATH_LEN: usize = 1024;
/// `SANLK_ADD_ASYNC`.
const ADD_ASYNC: u32 = 1;
/// `SANLK_HOST_MASK` and the states beneath it (`sanlock_admin.h`).
const HOST_MASK: u32 = 0xf;
const HOST_UNKNOWN: u32 = 1;
const HOST_FREE: u32 = 2;
const HOST_LIVE: u32 = 3;
const HOST_FAIL: u32 = 4;
const HOST_DEAD: u32 = 5;
/// More owners than this of one resource are not read.
const MAX_OWNERS: usize = 2048;

/// `struct sanlk_disk`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Disk {
    path: [u8; PATH_LEN],
    offset: u64,
    pad: [u32; 2],
}

/// `struct sanlk_lockspace`.
#[repr(C)]
#[derive(Clone)]
pub(super) struct Lockspace {
    name: [u8; NAME_LEN],
    host_id: u64,
    flags: u32,
    disk: Disk,
}

/// `struct sanlk_resource` with one disk.
#[repr(C)]
#[derive(Clone)]
pub(super) struct Resource {
    lockspace_name: [u8; NAME_LEN],
    name: [u8; NAME_LEN],
    lver: u64,
    data64: u64,
    data32: u32,
    unused: u32,
    flags: u32,
    num_disks: u32,
    disk: Disk,
}

/// `struct sanlk_host`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    pub(super) id: u64,
    pub(super) generation: u64,
    timestamp: u64,
    io_timeout: u32,
    flags: u32,
}

// The sizes that a C compiler gives them.
const _: () = assert!(size_of::<Disk>() == 1040);
const _: () = assert!(size_of::<Lockspace>() == 1104);
const _: () = assert!(size_of::<Resource>() == 1168);
const _: () = assert!(size_of::<Host>() == 32);

impl Host {
    /// It cannot hold a lease.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.lease(), HostLease::Free | HostLease::Dead)
    }

    /// Does it renew its lease?
    pub(super) fn lease(&self) -> HostLease {
        match self.flags & HOST_MASK {
            HOST_UNKNOWN => HostLease::Unknown,
            HOST_FREE => HostLease::Free,
            HOST_LIVE => HostLease::Live,
            HOST_FAIL => HostLease::Fail,
            HOST_DEAD => HostLease::Dead,
            _ => HostLease::Unavailable,
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8], most: usize) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    if bytes.is_empty() || bytes.len() > most || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a name or path that sanlock cannot take",
        ));
    }
    for (slot, byte) in array.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    Ok(array)
}

fn disk(path: &[u8], offset: u64) -> io::Result<Disk> {
    Ok(Disk {
        path: fixed(path, PATH_LEN - 1)?,
        offset,
        pad: [0; 2],
    })
}

impl Lockspace {
    pub(super) fn new(name: &str, host_id: u32, path: &[u8], flags: u32) -> io::Result<Self> {
        let name = fixed(name.as_bytes(), NAME_LEN)?;
        Ok(Self {
            name,
            host_id: host_id.into(),
            flags,
            disk: disk(path, 0)?,
        })
    }
}

impl Resource {
    pub(super) fn new(
        space: &str,
        name: &str,
        path: &[u8],
        offset: u64,
        flags: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            lockspace_name: fixed(space.as_bytes(), NAME_LEN)?,
            name: fixed(name.as_bytes(), NAME_LEN)?,
            lver: 0,
            data64: 0,
            data32: 0,
            unused: 0,
            flags,
            num_disks: 1,
            disk: disk(path, offset)?,
        })
    }
}

/// A registered connection: the daemon knows this process by it and frees its leases when it closes.
pub(super) struct Connection(OwnedFd);

type LockspaceFlags = unsafe extern "C" fn(*mut Lockspace, u32) -> c_int;
type Acquire = unsafe extern "C" fn(
    c_int,
    c_int,
    u32,
    c_int,
    *mut *mut Resource,
    *mut std::ffi::c_void,
) -> c_int;
type GetHosts = unsafe extern "C" fn(*const c_char, u64, *mut *mut Host, *mut c_int, u32) -> c_int;

/// The opened library.
pub(super) struct Library {
    version: unsafe extern "C" fn(u32, *mut u32, *mut u32) -> c_int,
    strerror: unsafe extern "C" fn(c_int) -> *const c_char,
    write_lockspace: unsafe extern "C" fn(*mut Lockspace, c_int, u32, u32) -> c_int,
    write_resource: unsafe extern "C" fn(*mut Resource, c_int, c_int, u32) -> c_int,
    add_lockspace: unsafe extern "C" fn(*mut Lockspace, u32, u32) -> c_int,
    inq_lockspace: LockspaceFlags,
    rem_lockspace: LockspaceFlags,
    register: unsafe extern "C" fn() -> c_int,
    acquire: Acquire,
    release: unsafe extern "C" fn(c_int, c_int, u32, c_int, *mut *mut Resource) -> c_int,
    read_owners: unsafe extern "C" fn(*mut Resource, u32, *mut *mut Host, *mut c_int) -> c_int,
    get_hosts: GetHosts,
    /// Last: the functions above live in it.
    _opened: libloading::Library,
}

impl Library {
    pub(super) fn open(name: &str) -> Result<Self, String> {
        // SAFETY: the library's initialisers do nothing that needs care.
        let library =
            unsafe { libloading::Library::new(name) }.map_err(|error| error.to_string())?;
        // SAFETY: the types are those of the headers.
        unsafe {
            Ok(Self {
                version: find(&library, c"sanlock_version")?,
                strerror: find(&library, c"sanlock_strerror")?,
                write_lockspace: find(&library, c"sanlock_write_lockspace")?,
                write_resource: find(&library, c"sanlock_write_resource")?,
                add_lockspace: find(&library, c"sanlock_add_lockspace_timeout")?,
                inq_lockspace: find(&library, c"sanlock_inq_lockspace")?,
                rem_lockspace: find(&library, c"sanlock_rem_lockspace")?,
                register: find(&library, c"sanlock_register")?,
                acquire: find(&library, c"sanlock_acquire")?,
                release: find(&library, c"sanlock_release")?,
                read_owners: find(&library, c"sanlock_read_resource_owners")?,
                get_hosts: find(&library, c"sanlock_get_hosts")?,
                _opened: library,
            })
        }
    }

    /// The daemon's version, if it answers.
    pub(super) fn version(&self) -> Result<u32, c_int> {
        let (mut version, mut protocol) = (0, 0);
        // SAFETY: two valid places.
        match unsafe { (self.version)(0, &raw mut version, &raw mut protocol) } {
            0 => Ok(version),
            code => Err(code),
        }
    }

    pub(super) fn write_lockspace(&self, space: &Lockspace, io_timeout: u32) -> c_int {
        let mut space = space.clone();
        // SAFETY: a whole structure of ours; 0 hosts is the most that the layout allows.
        unsafe { (self.write_lockspace)(&raw mut space, 0, 0, io_timeout) }
    }

    pub(super) fn write_resource(&self, resource: &Resource) -> c_int {
        let mut resource = resource.clone();
        // SAFETY: a whole structure of ours, with the one disk that it announces.
        unsafe { (self.write_resource)(&raw mut resource, 0, 0, 0) }
    }

    /// Asks the daemon to join; does not wait.
    pub(super) fn add_lockspace(&self, space: &Lockspace, io_timeout: u32) -> c_int {
        let mut space = space.clone();
        // SAFETY: a whole structure of ours.
        unsafe { (self.add_lockspace)(&raw mut space, ADD_ASYNC, io_timeout) }
    }

    pub(super) fn inq_lockspace(&self, space: &Lockspace) -> c_int {
        let mut space = space.clone();
        // SAFETY: a whole structure of ours.
        unsafe { (self.inq_lockspace)(&raw mut space, 0) }
    }

    /// Leaves, and waits for it.
    pub(super) fn rem_lockspace(&self, space: &Lockspace) -> c_int {
        let mut space = space.clone();
        // SAFETY: a whole structure of ours.
        unsafe { (self.rem_lockspace)(&raw mut space, 0) }
    }

    pub(super) fn register(&self) -> Result<Connection, c_int> {
        // SAFETY: no arguments.
        let fd = unsafe { (self.register)() };
        if fd < 0 {
            return Err(fd);
        }
        // SAFETY: the library has made this descriptor for us and does not keep it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Programs that we start must not keep our leases alive.
        let _ = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC);
        Ok(Connection(fd))
    }

    pub(super) fn acquire(&self, connection: &Connection, resource: &Resource) -> c_int {
        let mut resource = resource.clone();
        let mut list = [&raw mut resource];
        let sock = connection.0.as_raw_fd();
        // SAFETY: a list of one structure of ours; the options may be null (sanlock_resource.h).
        unsafe { (self.acquire)(sock, -1, 0, 1, list.as_mut_ptr(), ptr::null_mut()) }
    }

    pub(super) fn release(&self, connection: &Connection, resource: &Resource) -> c_int {
        let mut resource = resource.clone();
        let mut list = [&raw mut resource];
        // SAFETY: a list of one structure of ours.
        unsafe { (self.release)(connection.0.as_raw_fd(), -1, 0, 1, list.as_mut_ptr()) }
    }

    /// The version of a lease and who owns it.
    pub(super) fn read_owners(&self, resource: &Resource) -> Result<(u64, Vec<Host>), c_int> {
        let mut resource = resource.clone();
        let (mut hosts, mut count) = (ptr::null_mut(), 0);
        // SAFETY: a whole structure of ours and two valid places.
        let code =
            unsafe { (self.read_owners)(&raw mut resource, 0, &raw mut hosts, &raw mut count) };
        let hosts = take_hosts(hosts, count);
        if code < 0 {
            Err(code)
        } else {
            Ok((resource.lver, hosts))
        }
    }

    /// What the daemon knows of a host; `None` if it has never seen it.
    pub(super) fn host(&self, space: &str, host_id: u64) -> Result<Option<Host>, c_int> {
        let space = CString::new(space).map_err(|_| -libc::EINVAL)?;
        let (mut hosts, mut count) = (ptr::null_mut(), 0);
        // SAFETY: a zero-terminated name and two valid places.
        let code =
            unsafe { (self.get_hosts)(space.as_ptr(), host_id, &raw mut hosts, &raw mut count, 0) };
        let hosts = take_hosts(hosts, count);
        if code < 0 {
            Err(code)
        } else {
            Ok(hosts.first().copied())
        }
    }
}

/// A function of the library.
///
/// # Safety
/// `F` must be the function's type.
unsafe fn find<F: Copy>(library: &libloading::Library, name: &CStr) -> Result<F, String> {
    // SAFETY: promised by the caller.
    let symbol = unsafe { library.get::<F>(name.to_bytes_with_nul()) };
    symbol
        .map(|symbol| *symbol)
        .map_err(|error| error.to_string())
}

/// Copies an array that the library has allocated, and frees it.
fn take_hosts(hosts: *mut Host, count: c_int) -> Vec<Host> {
    if hosts.is_null() {
        return Vec::new();
    }
    let count = usize::try_from(count).unwrap_or(0).min(MAX_OWNERS);
    // SAFETY: the library says that it has put `count` hosts there, allocated by malloc, ours to free.
    unsafe {
        let copy = std::slice::from_raw_parts(hosts, count).to_vec();
        libc::free(hosts.cast());
        copy
    }
}

/// What an answer means: the library's words, or the system's.
pub(super) fn meaning(library: Option<&Library>, code: c_int) -> String {
    if let Some(library) = library.filter(|_| code <= -200) {
        // SAFETY: any number is allowed; the answer is a constant text.
        let text = unsafe { (library.strerror)(code) };
        if !text.is_null() {
            // SAFETY: a zero-terminated constant.
            return unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned();
        }
    }
    match code {
        -199..=-1 => io::Error::from_raw_os_error(-code).to_string(),
        -223 => "nothing is written there".into(),
        -226 | -227 => "the name written there is another one".into(),
        code => format!("sanlock error {code}"),
    }
}
