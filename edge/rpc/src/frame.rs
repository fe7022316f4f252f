//! STOMP 1.2 frames and their codec.
//!
//! States of the decoder: *between frames* (heart-beat newlines are skipped) -> *head* (command and
//! headers up to the blank line) -> *body* (by `content-length`, else up to NUL) -> *between frames*.
//! Every size is checked before a byte is kept for it: an announced body above the limit is refused
//! when its head is read. After an error the stream cannot be resynchronised: close it.
//!
//! Leniency, because Engine's Java client does not escape: a raw `:` in a header's value is taken
//! as it is. An unknown escape is an error, as the specification demands. In `CONNECT`, `STOMP` and
//! `CONNECTED` nothing is escaped (specification, "Value Encoding").

use std::borrow::Cow;
use std::{fmt, io};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Name of the header that announces the length of the body in bytes.
pub const CONTENT_LENGTH: &str = "content-length";

/// Commands of STOMP 1.2, both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the command of that name")]
pub enum Command {
    Connect,
    Stomp,
    Connected,
    Send,
    Subscribe,
    Unsubscribe,
    Ack,
    Nack,
    Begin,
    Commit,
    Abort,
    Disconnect,
    Message,
    Receipt,
    Error,
}

impl Command {
    /// All commands, in the order of the specification.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::Stomp,
        Self::Connected,
        Self::Send,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ack,
        Self::Nack,
        Self::Begin,
        Self::Commit,
        Self::Abort,
        Self::Disconnect,
        Self::Message,
        Self::Receipt,
        Self::Error,
    ];

    /// The command as it stands in the first line of a frame.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Stomp => "STOMP",
            Self::Connected => "CONNECTED",
            Self::Send => "SEND",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Ack => "ACK",
            Self::Nack => "NACK",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Abort => "ABORT",
            Self::Disconnect => "DISCONNECT",
            Self::Message => "MESSAGE",
            Self::Receipt => "RECEIPT",
            Self::Error => "ERROR",
        }
    }

    /// The command of this name, if STOMP 1.2 has it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|command| command.as_str() == name)
    }

    /// Whether headers of this frame are escaped.
    fn escapes(self) -> bool {
        !matches!(self, Self::Connect | Self::Stomp | Self::Connected)
    }
}

/// One frame. `content-length` is no header here: the body knows its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Command of the first line.
    pub command: Command,
    /// Body, without the NUL that ends it; empty if there is none.
    pub body: Bytes,
    /// Names and values of all headers, one after another: two allocations for any number of them.
    text: String,
    headers: Vec<Ends>,
}

/// Where a header ends in the text; it starts where the one before it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: usize,
    value: usize,
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Frame")
            .field("command", &self.command)
            .field("headers", &self.headers().collect::<Vec<_>>())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Frame {
    /// A frame without headers and body.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            body: Bytes::new(),
            text: String::new(),
            headers: Vec::new(),
        }
    }

    /// Adds a header; ignored if the name is already there (the first one counts) or is
    /// `content-length`, which the encoder writes itself.
    #[must_use]
    pub fn with_header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.push_header(name.as_ref(), value.as_ref());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// All headers in order of appearance.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.headers.iter().map(move |ends| {
            let name = self.text.get(start..ends.name).unwrap_or_default();
            start = ends.value;
            let value = self.text.get(ends.name..ends.value).unwrap_or_default();
            (name, value)
        })
    }

    /// The frame as it goes over the wire.
    ///
    /// # Errors
    /// [`FrameError::Unencodable`] if a header's name is empty, or name or value hold NUL, or, in a
    /// frame without escapes, a line break (or the name a colon).
    pub fn to_bytes(&self) -> Result<Bytes, FrameError> {
        let mut out = BytesMut::new();
        encode(self, &mut out)?;
        Ok(out.freeze())
    }

    fn push_header(&mut self, name: &str, value: &str) {
        if name == CONTENT_LENGTH || self.header(name).is_some() {
            return;
        }
        self.text.push_str(name);
        let name = self.text.len();
        self.text.push_str(value);
        let value = self.text.len();
        self.headers.push(Ends { name, value });
    }
}

/// Sizes that the decoder accepts.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Bytes of command and headers together.
    pub head: usize,
    /// Number of headers.
    pub headers: usize,
    /// Bytes of a body.
    pub body: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            headers: 128,
            body: 32 * 1024 * 1024,
        }
    }
}

/// Why bytes are no acceptable frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The transport failed (needed by tokio-util's codec).
    #[error("transport")]
    Io(#[from] io::Error),
    /// Command and headers exceed the limit.
    #[error("Frame header exceeds {limit} bytes")]
    HeadTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// More headers than allowed.
    #[error("Frame has more than {limit} headers")]
    TooManyHeaders {
        /// Headers allowed.
        limit: usize,
    },
    /// The body is announced or grows larger than allowed.
    #[error("Frame body exceeds {limit} bytes")]
    BodyTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// Command or header are not UTF-8.
    #[error("Frame header is not UTF-8")]
    NotUtf8,
    /// A NUL came before the blank line that ends the headers.
    #[error("Frame ends within its header")]
    NulInHead,
    /// STOMP 1.2 has no such command.
    #[error("Unknown command '{command}'")]
    UnknownCommand {
        /// First bytes of the command, for the log.
        command: String,
    },
    /// A header line holds no colon, or nothing before it.
    #[error("Header without name or colon")]
    BadHeader,
    /// A backslash is followed by something that STOMP does not define.
    #[error("Undefined escape sequence in a header")]
    BadEscape,
    /// `content-length` is no number.
    #[error("Invalid content-length header")]
    BadContentLength,
    /// The byte after a body of the announced length is not NUL.
    #[error("Frame body is not terminated by NUL")]
    MissingNul,
    /// A header cannot be written in a frame that has no escapes.
    #[error("header '{name}' cannot be encoded")]
    Unencodable {
        /// Name of the header.
        name: String,
    },
}

/// Decoder and encoder of frames.
#[derive(Debug, Default)]
pub struct Codec {
    limits: FrameLimits,
    /// Bytes of the buffer already searched for the end of head or body.
    scanned: usize,
    pending: Option<Pending>,
}

/// A frame whose head is read and whose body is awaited.
#[derive(Debug)]
struct Pending {
    frame: Frame,
    length: Option<usize>,
}

impl Codec {
    /// A codec with these limits.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            scanned: 0,
            pending: None,
        }
    }

    fn take_head(&mut self, src: &mut BytesMut) -> Result<Option<Pending>, FrameError> {
        if skip_beats(src) {
            // A lone carriage return was searched before its line feed came.
            self.scanned = 0;
        }
        let Some(end) = self.find_head_end(src)? else {
            return Ok(None);
        };
        let head = src.split_to(end);
        self.scanned = 0;
        self.parse_head(&head).map(Some)
    }

    fn find_head_end(&mut self, src: &BytesMut) -> Result<Option<usize>, FrameError> {
        let end = loop {
            let tail = src.get(self.scanned..).unwrap_or_default();
            let Some(found) = tail.iter().position(|byte| matches!(byte, b'\n' | 0)) else {
                self.scanned = src.len();
                break None;
            };
            if tail.get(found) == Some(&0) {
                // Beyond the limit it does not count: how the bytes were split must not matter.
                if self.scanned + found >= self.limits.head {
                    break None;
                }
                return Err(FrameError::NulInHead);
            }
            match tail.get(found + 1..).unwrap_or_default() {
                [b'\n', ..] => break Some(self.scanned + found + 2),
                [b'\r', b'\n', ..] => break Some(self.scanned + found + 3),
                // What comes next decides: look at this line end again.
                [] | [b'\r'] => {
                    self.scanned += found;
                    break None;
                }
                _ => self.scanned += found + 1,
            }
        };
        if end.unwrap_or(src.len()) > self.limits.head {
            return Err(FrameError::HeadTooLarge {
                limit: self.limits.head,
            });
        }
        Ok(end)
    }

    fn parse_head(&self, head: &[u8]) -> Result<Pending, FrameError> {
        let text = std::str::from_utf8(head).map_err(|_| FrameError::NotUtf8)?;
        let mut lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        let name = lines.next().unwrap_or_default();
        let command = Command::parse(name).ok_or_else(|| FrameError::UnknownCommand {
            command: name.chars().take(32).collect(),
        })?;
        let mut frame = Frame::new(command);
        frame.text.reserve(head.len());
        let mut length = None;
        for (count, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
            if count >= self.limits.headers {
                return Err(FrameError::TooManyHeaders {
                    limit: self.limits.headers,
                });
            }
            let (name, value) = parse_header(command, line)?;
            if name == CONTENT_LENGTH && length.is_none() {
                length = Some(self.check_length(&value)?);
            }
            frame.push_header(&name, &value);
        }
        Ok(Pending { frame, length })
    }

    fn check_length(&self, value: &str) -> Result<usize, FrameError> {
        let digits = value.trim();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FrameError::BadContentLength);
        }
        // Digits alone that do not fit are simply too large.
        let length = digits.parse::<usize>().unwrap_or(usize::MAX);
        if length > self.limits.body {
            return Err(FrameError::BodyTooLarge {
                limit: self.limits.body,
            });
        }
        Ok(length)
    }

    fn take_body(
        &mut self,
        length: Option<usize>,
        src: &mut BytesMut,
    ) -> Result<Option<Bytes>, FrameError> {
        let end = match length {
            Some(length) => match src.get(length) {
                None => return Ok(None),
                Some(0) => length,
                Some(_) => return Err(FrameError::MissingNul),
            },
            None => match self.find_nul(src)? {
                None => return Ok(None),
                Some(end) => end,
            },
        };
        let body = src.split_to(end).freeze();
        src.advance(1);
        self.scanned = 0;
        Ok(Some(body))
    }

    fn find_nul(&mut self, src: &BytesMut) -> Result<Option<usize>, FrameError> {
        let tail = src.get(self.scanned..).unwrap_or_default();
        let end = tail
            .iter()
            .position(|byte| *byte == 0)
            .map(|at| self.scanned + at);
        self.scanned = src.len();
        if end.unwrap_or(src.len()) > self.limits.body {
            return Err(FrameError::BodyTooLarge {
                limit: self.limits.body,
            });
        }
        Ok(end)
    }
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Pending { mut frame, length } = match self.pending.take() {
            Some(pending) => pending,
            None => match self.take_head(src)? {
                Some(pending) => pending,
                None => return Ok(None),
            },
        };
        if let Some(body) = self.take_body(length, src)? {
            frame.body = body;
            return Ok(Some(frame));
        }
        self.pending = Some(Pending { frame, length });
        Ok(None)
    }
}

impl Encoder<&Frame> for Codec {
    type Error = FrameError;

    fn encode(&mut self, frame: &Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        encode(frame, dst)
    }
}

impl Encoder<Frame> for Codec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        encode(&frame, dst)
    }
}

/// Takes away heart-beats and the line ends that may follow a frame; whether there were any.
fn skip_beats(src: &mut BytesMut) -> bool {
    let before = src.len();
    loop {
        if src.starts_with(b"\r\n") {
            src.advance(2);
        } else {
            let beats = src.iter().take_while(|byte| **byte == b'\n').count();
            if beats == 0 {
                return src.len() < before;
            }
            src.advance(beats);
        }
    }
}

fn parse_header(command: Command, line: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), FrameError> {
    let (name, value) = line.split_once(':').ok_or(FrameError::BadHeader)?;
    if name.is_empty() {
        return Err(FrameError::BadHeader);
    }
    if command.escapes() {
        Ok((unescape(name)?, unescape(value)?))
    } else {
        Ok((name.into(), value.into()))
    }
}

fn unescape(text: &str) -> Result<Cow<'_, str>, FrameError> {
    if !text.contains('\\') {
        return Ok(text.into());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        out.push(match chars.next() {
            Some('r') => '\r',
            Some('n') => '\n',
            Some('c') => ':',
            Some('\\') => '\\',
            _ => return Err(FrameError::BadEscape),
        });
    }
    Ok(out.into())
}

/// A header's name or value as it stands in a frame that escapes.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\r', '\n', ':', '\\']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            ':' => out.push_str("\\c"),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

fn encode(frame: &Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
    let headers: usize = frame
        .headers()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    dst.reserve(48 + headers + frame.body.len());
    dst.put_slice(frame.command.as_str().as_bytes());
    dst.put_u8(b'\n');
    for (name, value) in frame.headers() {
        if !encodable(frame.command, name, value) {
            return Err(FrameError::Unencodable {
                name: name.to_owned(),
            });
        }
        if frame.command.escapes() {
            put_header(dst, &escape(name), &escape(value));
        } else {
            put_header(dst, name, value);
        }
    }
    if !frame.body.is_empty() {
        put_header(dst, CONTENT_LENGTH, &frame.body.len().to_string());
    }
    dst.put_u8(b'\n');
    dst.put_slice(&frame.body);
    dst.put_u8(0);
    Ok(())
}

/// An empty name and NUL have no form at all; without escapes a line break has none either.
fn encodable(command: Command, name: &str, value: &str) -> bool {
    let bare = !command.escapes();
    !name.is_empty()
        && !name.contains('\0')
        && !value.contains('\0')
        && !(bare && (name.contains([':', '\r', '\n']) || value.contains(['\r', '\n'])))
}

fn put_header(dst: &mut BytesMut, name: &str, value: &str) {
    dst.put_slice(name.as_bytes());
    dst.put_u8(b':');
    dst.put_slice(value.as_bytes());
    dst.put_u8(b'\n');
}
