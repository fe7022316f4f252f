//! The one door to external programs: nothing else in the agent starts a process.
//!
//! What a program gets: an absolute path or a name found in [`SEARCH`], its arguments, an environment of
//! `LC_ALL=C` plus what was given, descriptors 0, 1 and 2 and no other, its own process group, no blocked
//! or ignored signals. What the caller gets: a bounded wait (monotonic), bounded output (the end is kept),
//! the exit status, and after a deadline or a cancellation the whole tree of processes gone.
//!
//! Ways in:
//! - [`Command::run`]: run to the end, the usual way; secrets go through [`Command::stdin`].
//! - [`Command::spawn`]: a child that lives longer, with a handle ([`Child`]) that ends it when dropped.
//! - [`Command::spawn_daemon`]: a program in the background that outlives the caller ([`Process`]).
//! - [`qemu_img`], [`kvm`], [`fence`], [`lldptool`]: typed verbs.
//!
//! Where to look next: [`mod@command`] what is asked for, `run.rs` the wait, `sys.rs` the only unsafe code
//! (clone, the steps between it and execve), `process.rs` trees and identities of processes.
#![deny(unsafe_code)]

mod cancel;
mod capture;
mod child;
pub mod command;
mod daemon;
mod error;
pub mod fence;
pub mod kvm;
pub mod lldptool;
pub mod process;
pub mod qemu_img;
mod run;
mod sys;

pub use cancel::Cancel;
pub use child::{Child, Pipes};
pub use command::{Command, DEFAULT_TIMEOUT, IoClass, SEARCH, Stdio};
pub use daemon::Daemon;
pub use error::{ExecError, Exit};
pub use process::Process;
pub use run::Output;
