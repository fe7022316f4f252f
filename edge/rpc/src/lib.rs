//! STOMP 1.2 over TLS and JSON-RPC 2.0: server and client.
#![forbid(unsafe_code)]
