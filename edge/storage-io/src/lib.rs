//! The world of storage as an unprivileged process reaches it: files, `qemu-img`, the cluster lock.
//! Implements the ports of `storage-model`.
//!
//! - [`LocalFiles`]: files, each call on a thread of its own with a deadline, because a file system that is
//!   gone (NFS) lets a call hang for ever. A hung call is left behind; a few of them, and the root they hang
//!   on answers `TimedOut` at once until one comes back.
//! - [`QemuImgTool`]: `qemu-img` with upstream's argument lists.
//! - [`SanlockLock`]: sanlock through its client library, loaded when first needed (a machine without it has
//!   a clear error, not an agent that does not start). [`LocalLock`]: the explicit substitute for one host.
//!
//! Where to look next: `pool.rs` the deadline, `sanlock/ffi.rs` the only unsafe code.
#![deny(unsafe_code)]

mod allocate;
mod direct;
mod files;
mod local_lock;
mod pool;
mod qemu_img;
mod roots;
mod sanlock;

pub use files::{FilesConfig, LocalFiles};
pub use local_lock::LocalLock;
pub use qemu_img::QemuImgTool;
pub use sanlock::{SanlockConfig, SanlockLock};
