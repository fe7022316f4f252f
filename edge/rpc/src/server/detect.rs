//! Which protocol the first bytes speak: STOMP, HTTP (answered 400), or garbage.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::frame::Command;

/// Longest start that is looked at: the longest command and its line end.
const ENOUGH: usize = "UNSUBSCRIBE\r\n".len();

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Stomp,
    Http,
    Garbage(&'static str),
    /// The peer closed before it could be said.
    Closed,
}

/// Reads until the protocol is clear; what was read stays in `input`.
pub(super) async fn detect<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
) -> io::Result<Protocol> {
    loop {
        // Heart-beats may come before the first frame.
        while input.starts_with(b"\n") || input.starts_with(b"\r\n") {
            input.advance(1);
        }
        if let Some(protocol) = judge(input) {
            return Ok(protocol);
        }
        if stream.read_buf(input).await? == 0 {
            return Ok(Protocol::Closed);
        }
    }
}

/// The protocol that starts so, once that is certain.
pub(super) fn judge(start: &[u8]) -> Option<Protocol> {
    let start = start.get(..ENOUGH).unwrap_or(start);
    if [&b"GET /"[..], b"PUT /"]
        .iter()
        .any(|verb| start.starts_with(verb))
    {
        return Some(Protocol::Http);
    }
    let mut possible = [&b"GET /"[..], b"PUT /", b"\r\n"]
        .iter()
        .any(|it| it.starts_with(start));
    for command in Command::ALL.map(Command::as_str) {
        match start.strip_prefix(command.as_bytes()) {
            Some([b'\n', ..] | [b'\r', b'\n', ..]) => return Some(Protocol::Stomp),
            Some([] | [b'\r']) => possible = true,
            Some(_) => {}
            None => possible |= command.as_bytes().starts_with(start),
        }
    }
    if possible {
        return None;
    }
    Some(Protocol::Garbage(match start {
        // A TLS record: handshake, version 3.x.
        [0x16, 3, ..] | [0x16] => "TLS on a plain port",
        _ => "unknown protocol",
    }))
}

/// The whole answer to HTTP.
pub(super) const HTTP_BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::{Protocol, judge};
    use crate::frame::Command;

    #[test]
    fn every_command_is_stomp_as_soon_as_its_line_ends() {
        for command in Command::ALL.map(Command::as_str) {
            for end in ["\n", "\r\n", "\nhost:x\n"] {
                let whole = format!("{command}{end}");
                assert_eq!(judge(whole.as_bytes()), Some(Protocol::Stomp), "{whole:?}");
            }
            for cut in 0..=command.len() {
                assert_eq!(
                    judge(&command.as_bytes()[..cut]),
                    None,
                    "{command} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn http_verbs_are_http() {
        assert_eq!(judge(b"GET / HTTP/1.1\r\n"), Some(Protocol::Http));
        assert_eq!(judge(b"PUT /image HTTP/1.1\r\n"), Some(Protocol::Http));
        assert_eq!(judge(b"GET "), None);
        assert_eq!(
            judge(b"POST / "),
            Some(Protocol::Garbage("unknown protocol"))
        );
    }

    #[test]
    fn garbage_is_known_by_its_first_wrong_byte() {
        for start in [
            &b"smth"[..],
            b"\x23\x54",
            b"connect\n",
            b"CONNECTX",
            b"\0",
            b"{",
            b"SENDER",
        ] {
            assert_eq!(
                judge(start),
                Some(Protocol::Garbage("unknown protocol")),
                "{start:?}"
            );
        }
        assert_eq!(
            judge(b"\x16\x03\x01"),
            Some(Protocol::Garbage("TLS on a plain port"))
        );
    }
}
