//! Stateful fakes of the ports.
#![forbid(unsafe_code)]
