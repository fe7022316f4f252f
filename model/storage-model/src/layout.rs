//! Names, modes and sizes.
