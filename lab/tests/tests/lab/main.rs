//! Tests on lab hosts. One module for each subject; each test gets hosts of its own.

mod agent;
mod configure;
mod controls;
mod harness;
mod kernel;
mod lacp;
mod network;
mod networkmanager;
mod packages;
mod pair;
