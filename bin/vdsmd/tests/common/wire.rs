//! The port without a client library: bytes as a peer sends them that does not keep to the rules.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// How long one read waits.
const READ_TIME: Duration = Duration::from_secs(20);
/// Queue that answers are asked to.
const REPLY_QUEUE: &str = "jms.topic.test_answers";

/// A plain connection.
pub struct Wire {
    /// The socket.
    pub stream: TcpStream,
    input: Vec<u8>,
}

/// A frame as it came: command, headers as text, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Command.
    pub command: String,
    /// Header lines.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Wire {
    /// Connects and says nothing.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(READ_TIME)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            input: Vec::new(),
        }
    }

    /// Connects and agrees on STOMP 1.2 without heart-beats.
    pub fn greeted(address: SocketAddr) -> Self {
        let mut wire = Self::open(address);
        wire.send(b"CONNECT\naccept-version:1.2\nhost:test\nheart-beat:0,0\n\n\0");
        assert_eq!(wire.next().expect("an answer").command, "CONNECTED");
        wire
    }

    /// As [`Wire::greeted`], subscribed to its own queue of answers.
    pub fn subscribed(address: SocketAddr) -> Self {
        let mut wire = Self::greeted(address);
        wire.subscribe(REPLY_QUEUE, "answers");
        wire
    }

    /// Subscribes.
    pub fn subscribe(&mut self, destination: &str, id: &str) {
        let frame = format!("SUBSCRIBE\ndestination:{destination}\nid:{id}\nreceipt:{id}\n\n\0");
        self.send(frame.as_bytes());
        // All wires share the queue of answers: one that is meant for another may come first.
        let mut frames = std::iter::from_fn(|| self.next());
        let receipt = frames.find(|frame| frame.command != "MESSAGE");
        assert_eq!(receipt.expect("an answer").command, "RECEIPT");
    }

    /// Sends bytes; the peer must take them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a body to the queue of requests.
    pub fn request(&mut self, body: &[u8]) {
        self.message(rpc::REQUEST_QUEUE, body);
    }

    /// Sends a body somewhere.
    pub fn message(&mut self, destination: &str, body: &[u8]) {
        self.send(&message(destination, body));
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if gone(&error) => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// Is the connection at its end? Frames that come before are thrown away.
    pub fn ends(&mut self) {
        while self.next().is_some() {}
    }

    /// Closes our half.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn take(&mut self) -> Option<Received> {
        let start = self.input.iter().position(|byte| !b"\r\n".contains(byte))?;
        self.input.drain(..start);
        let head_end = self.input.windows(2).position(|two| two == b"\n\n")?;
        let head = String::from_utf8(self.input[..head_end].to_vec()).unwrap();
        let body_start = head_end + 2;
        let announced = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map(|length| length.parse::<usize>().unwrap());
        let length = match announced {
            Some(length) if self.input.len() > body_start + length => length,
            Some(_) => return None,
            None => self.input[body_start..]
                .iter()
                .position(|byte| *byte == 0)?,
        };
        let body = self.input[body_start..body_start + length].to_vec();
        assert_eq!(self.input[body_start + length], 0, "a frame ends with NUL");
        self.input.drain(..=body_start + length);
        let (command, head) = head.split_once('\n').unwrap_or((&head, ""));
        Some(Received {
            command: command.to_owned(),
            head: head.to_owned(),
            body,
        })
    }
}

/// A SEND frame.
pub fn message(destination: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "SEND\ndestination:{destination}\nreply-to:{REPLY_QUEUE}\ncontent-length:{length}\n\n"
    );
    [head.as_bytes(), body, b"\0"].concat()
}

/// Has the peer closed the connection, in whatever way?
pub fn gone(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}
