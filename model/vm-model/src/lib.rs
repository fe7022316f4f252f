//! Domain XML, oVirt metadata, devices, VM states; the ports [`Hypervisor`](ports::Hypervisor) and
//! [`Volumes`](ports::Volumes). Pure: no I/O, no clock.
#![forbid(unsafe_code)]

pub mod ports;
