//! Lab hosts: throw-away machines with a full kernel, systemd and the packages that users install.
//!
//! ```no_run
//! # fn main() {
//! hosts::test("lab_a_command_runs", |lab| {
//!     let host = lab.host(1).start()?; // from a snapshot: seconds
//!     let said = host.run("echo hello; exit 3")?;
//!     assert_eq!((said.code, said.stdout.as_str()), (3, "hello\n"));
//!     Ok::<_, hosts::LabError>(())
//! });
//! # }
//! ```
//!
//! A [`Lab`] is the world of one test: its hosts, disks and networks go when it goes, also on a panic, and
//! when the process is killed (QEMU dies with it; the next lab takes the files away). [`test`](fn@test) adds
//! what a failed test needs: journals, consoles and agent's logs in `target/lab/<test>/`.
//!
//! Layers of what a host starts from: the image; `pristine`, the image booted; others on top of it, such as
//! the installed product ([`Layer`]). Each is kept as a disk and a memory snapshot.
//!
//! Where to look next: `lab.rs` the world and its end, `host.rs` a machine and its power, `commands.rs` and `shell.rs` what is done in it,
//! `plan.rs` QEMU's command line, `network.rs` cables, `snapshot.rs` layers, `docs/lab.md`.
#![forbid(unsafe_code)]

mod builder;
mod commands;
mod disk;
mod error;
mod evidence;
mod host;
mod image;
mod keeper;
mod lab;
mod machine;
mod network;
mod plan;
mod qmp;
mod shell;
mod snapshot;
mod standing;
mod testing;
mod tidy;

pub use builder::HostBuilder;
pub use disk::Disk;
pub use error::{LabError, Result};
pub use host::{Host, Nic};
pub use image::{Image, lab_dir};
pub use lab::{Lab, clear, evidence_of};
pub use network::Network;
pub use plan::Shape;
pub use shell::Output;
pub use snapshot::Layer;
pub use standing::Standing;
pub use testing::test;
