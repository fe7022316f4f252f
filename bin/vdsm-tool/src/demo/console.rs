//! The guest's serial console: a unix socket of QEMU, as Engine asks for it.
//!
//! States: connected, ended (the guest has gone). A thread reads; what came so far can be searched. The
//! guest is not trusted: what is kept and what is shown is bounded and cleaned.

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use exec::Cancel;

use crate::interrupt::wait_for;

/// Most that is kept, bytes.
const LIMIT: usize = 1 << 20;

/// An open console.
pub(crate) struct Console {
    text: Arc<Mutex<String>>,
}

impl Console {
    /// Connects as soon as the socket is there.
    pub(crate) fn connect(path: &Path, cancel: &Cancel) -> Result<Self> {
        let mut last = None;
        let stream = wait_for(
            "the serial console",
            Duration::from_secs(20),
            cancel,
            |_| match UnixStream::connect(path) {
                Ok(stream) => Ok(Some(stream)),
                Err(error) => {
                    last = Some(error);
                    Ok(None)
                }
            },
        )
        .with_context(|| format!("{}: {last:?}", path.display()))?;
        Self::read_from(stream)
    }

    fn read_from(mut stream: UnixStream) -> Result<Self> {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    let mut text = sink.lock().unwrap_or_else(PoisonError::into_inner);
                    if text.len() < LIMIT {
                        text.push_str(&String::from_utf8_lossy(bytes));
                    }
                }
            })
            .context("cannot start a thread")?;
        Ok(Self { text })
    }

    /// The last whole line that contains `word`, and the one after it if it is whole.
    pub(crate) fn find(&self, word: &str) -> Option<(String, String)> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        find(&text, word)
    }
}

fn find(text: &str, word: &str) -> Option<(String, String)> {
    let (whole, _) = text.rsplit_once('\n')?;
    let lines: Vec<&str> = whole.lines().collect();
    let at = lines.iter().rposition(|line| line.contains(word))?;
    Some((
        clean(lines.get(at)?),
        lines
            .get(at + 1)
            .map(|line| clean(line))
            .unwrap_or_default(),
    ))
}

/// Without control characters, and no longer than a line of a terminal likes.
fn clean(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(160).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_whole_lines_are_found_and_control_characters_go() {
        assert_eq!(find("abc UP", "UP"), None);
        let text = "boot\r\n\x1b[2Jguest UP id=1\r\nLinux 6\r\ntick 1\r\ntick 2\r\nti";
        let (line, next) = find(text, "UP").unwrap();
        assert_eq!(
            (line.as_str(), next.as_str()),
            ("[2Jguest UP id=1", "Linux 6")
        );
        assert_eq!(
            find(text, "tick").unwrap(),
            ("tick 2".to_owned(), String::new())
        );
    }

    #[test]
    fn what_the_guest_says_arrives_and_is_bounded() {
        let (mut guest, host) = UnixStream::pair().unwrap();
        let console = Console::read_from(host).unwrap();
        guest.write_all(b"GUEST-UP\nmore\n").unwrap();
        let found = wait_for("it", Duration::from_secs(5), &Cancel::new(), |_| {
            Ok(console.find("GUEST-UP"))
        });
        assert_eq!(found.unwrap().0, "GUEST-UP");
        for _ in 0..600 {
            guest.write_all(&[b'x'; 4096]).unwrap();
        }
        drop(guest);
        assert!(console.text.lock().unwrap().len() <= LIMIT + 4096);
    }
}
