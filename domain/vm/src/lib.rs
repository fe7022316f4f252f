//! The life of virtual machines: policy over the ports of vm-model.
#![forbid(unsafe_code)]
