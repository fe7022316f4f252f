//! QEMU's monitor (QMP): JSON lines over a unix socket, an answer for each command, events in between.
//!
//! States: connected (greeting read, capabilities agreed); an error of the socket is final.
//! Source of the protocol: docs/interop/qmp-spec in QEMU.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Bytes of the longest line that is read.
const LONGEST: usize = 4 << 20;

/// Events that are kept until somebody waits for them.
const EVENTS: usize = 200;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QmpError {
    /// The socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// QEMU closed the socket.
    #[error("the connection was closed")]
    Closed,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// QEMU said no.
    #[error("{0}")]
    Refused(String),
    /// Something that is not QMP.
    #[error("not understood: {0}")]
    Odd(String),
}

/// A connection to a monitor.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    /// Read, and not yet a whole line.
    pending: Vec<u8>,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Connects and agrees on capabilities.
    pub(crate) fn connect(path: &Path, timeout: Duration) -> Result<Self, QmpError> {
        let mut qmp = Self {
            stream: UnixStream::connect(path)?,
            pending: Vec::new(),
            events: VecDeque::new(),
        };
        qmp.stream.set_write_timeout(Some(timeout))?;
        let greeting = qmp.message(Instant::now() + timeout, timeout)?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Odd(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({}), timeout)?;
        Ok(qmp)
    }

    /// Runs a command; its `return`.
    pub(crate) fn execute(
        &mut self,
        command: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<Value, QmpError> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes())?;
        let deadline = Instant::now() + timeout;
        loop {
            let mut message = self.message(deadline, timeout)?;
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = message.get("error") {
                let text = error.get("desc").and_then(Value::as_str);
                return Err(QmpError::Refused(text.unwrap_or("an error").to_owned()));
            }
            self.keep(message);
        }
    }

    /// Waits for an event of this name whose data fit.
    pub(crate) fn event(
        &mut self,
        name: &str,
        fits: &dyn Fn(&Value) -> bool,
        timeout: Duration,
    ) -> Result<(), QmpError> {
        let deadline = Instant::now() + timeout;
        let wanted = |event: &Value| {
            event.get("event").and_then(Value::as_str) == Some(name)
                && fits(event.get("data").unwrap_or(&Value::Null))
        };
        loop {
            if let Some(at) = self.events.iter().position(wanted) {
                self.events.remove(at);
                return Ok(());
            }
            let message = self.message(deadline, timeout)?;
            self.keep(message);
        }
    }

    fn keep(&mut self, message: Value) {
        if message.get("event").is_some() {
            if self.events.len() >= EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(message);
        }
    }

    fn message(&mut self, deadline: Instant, timeout: Duration) -> Result<Value, QmpError> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|_| QmpError::Odd(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.pending.len() > LONGEST {
                return Err(QmpError::Odd("a line without end".to_owned()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(QmpError::Late(timeout));
            }
            self.read_some(left)?;
        }
    }

    fn read_some(&mut self, left: Duration) -> Result<(), QmpError> {
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0_u8; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(QmpError::Closed),
            Ok(count) => {
                self.pending
                    .extend_from_slice(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    /// A monitor that says these lines, one for each line it is told (the first before any).
    fn monitor(lines: Vec<&'static str>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut told = io::BufReader::new(stream.try_clone().unwrap());
            for line in lines {
                if stream.write_all(line.as_bytes()).is_err() {
                    return;
                }
                let mut text = String::new();
                if io::BufRead::read_line(&mut told, &mut text).unwrap_or(0) == 0 {
                    return;
                }
            }
            let mut rest = Vec::new();
            let _ = told.read_to_end(&mut rest);
        });
        (folder, path)
    }

    const HELLO: &str = "{\"QMP\": {\"version\": {}}}\n";
    const FINE: &str = "{\"return\": {}}\n";

    #[test]
    fn answers_events_and_refusals_are_told_apart() {
        let (_folder, path) = monitor(vec![
            HELLO,
            FINE,
            "{\"event\": \"STOP\", \"data\": {\"a\": 1}}\n{\"return\": {\"status\": \"paused\"}}\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}}\n",
        ]);
        let mut qmp = Qmp::connect(&path, LONG).unwrap();
        let answer = qmp.execute("query-status", json!({}), LONG).unwrap();
        assert_eq!(answer.get("status").and_then(Value::as_str), Some("paused"));
        let refused = qmp.execute("device_add", json!({}), LONG).unwrap_err();
        assert!(matches!(refused, QmpError::Refused(why) if why == "no such thing"));
        let one = |data: &Value| data.get("a").and_then(Value::as_i64) == Some(1);
        qmp.event("STOP", &one, LONG).unwrap();
        assert!(matches!(
            qmp.event("STOP", &one, SHORT),
            Err(QmpError::Late(_))
        ));
    }

    #[test]
    fn silence_a_closed_socket_and_nonsense_are_errors() {
        let (_folder, path) = monitor(vec![HELLO, FINE]);
        let mut qmp = Qmp::connect(&path, LONG).unwrap();
        assert!(matches!(
            qmp.execute("stop", json!({}), SHORT),
            Err(QmpError::Late(_))
        ));
        for odd in ["{\"hello\": 1}\n", "nonsense\n"] {
            let (_folder, path) = monitor(vec![odd]);
            assert!(matches!(Qmp::connect(&path, LONG), Err(QmpError::Odd(_))));
        }
        let (folder, path) = monitor(vec![]);
        drop(folder);
        assert!(matches!(Qmp::connect(&path, SHORT), Err(QmpError::Io(_))));
    }
}
