//! qemu-img, direct file I/O and sanlock, without privilege.
#![forbid(unsafe_code)]
