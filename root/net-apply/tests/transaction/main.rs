//! Changes over a model of the kernel that outlives the process: kills at every point, steps that fail, full disks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on ends, and says why it does not begin"
)]

mod crash;
mod disk;
mod faults;
mod restore;
mod world;
