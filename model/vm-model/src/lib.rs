//! Domain XML, oVirt metadata, devices, VM states; the ports Hypervisor and Volumes.
#![forbid(unsafe_code)]
