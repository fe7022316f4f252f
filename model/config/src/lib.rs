//! vdsm.conf: the sections and options of the agent, parsed and typed.
#![forbid(unsafe_code)]
