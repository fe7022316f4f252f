//! Frames on a unix stream socket: four bytes of length, big endian, then as many bytes. Bounded in size, and
//! in time by one deadline for the whole frame, so that a peer that trickles gains nothing.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// Largest frame, bytes without its length: a change, or a plan, of 1,000 networks and more.
pub const MAX_FRAME: usize = 32 << 20;

/// What is made room for before it has come, bytes.
const FIRST_ROOM: usize = 64 << 10;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It announces more than [`MAX_FRAME`], or nothing.
    #[error("a frame of {length} bytes: from 1 to {MAX_FRAME} are allowed")]
    Length {
        /// What it announces.
        length: usize,
    },
    /// The peer closed in the middle of it.
    #[error("the frame is cut short")]
    Short,
    /// The peer closed before it.
    #[error("closed without a frame")]
    Closed,
    /// Not all of it came or went in time.
    #[error("not in time")]
    TimedOut,
    /// Anything else.
    #[error("cannot read or write")]
    Io(#[source] io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Self::Short,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// A stream with a deadline for all that is read and written through it.
#[derive(Debug)]
pub struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl<'a> Timed<'a> {
    /// Reads and writes until then.
    pub fn new(stream: &'a UnixStream, until: Instant) -> Self {
        Self { stream, until }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Below a microsecond the kernel would read "no timeout".
        Ok(left.max(Duration::from_millis(1)))
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        (&mut &*self.stream).read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        (&mut &*self.stream).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads one frame.
pub fn read_frame(from: &mut impl Read) -> Result<Vec<u8>, FrameError> {
    let mut head = [0_u8; 4];
    let first = loop {
        match from.read(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(head.get_mut(first..).unwrap_or_default())?;
    let length = u32::from_be_bytes(head) as usize;
    if length == 0 || length > MAX_FRAME {
        return Err(FrameError::Length { length });
    }
    // Room grows with what comes, not with what is announced.
    let mut body = Vec::with_capacity(length.min(FIRST_ROOM));
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(FrameError::Short);
    }
    Ok(body)
}

/// Writes one frame.
pub fn write_frame(to: &mut impl Write, body: &[u8]) -> Result<(), FrameError> {
    let length = body.len();
    let Some(head) = u32::try_from(length)
        .ok()
        .filter(|_| (1..=MAX_FRAME).contains(&length))
    else {
        return Err(FrameError::Length { length });
    };
    let mut frame = head.to_be_bytes().to_vec();
    frame.extend(body);
    to.write_all(&frame)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_bounded_both_ways() {
        let length = |error| match error {
            FrameError::Length { length } => length,
            other => panic!("{other:?}"),
        };
        let huge = (1_u32 << 30).to_be_bytes();
        assert_eq!(
            length(read_frame(&mut &huge[..]).expect_err("huge")),
            1 << 30
        );
        assert_eq!(
            length(read_frame(&mut &[0_u8; 4][..]).expect_err("empty")),
            0
        );
        let mut out = Vec::new();
        let big = vec![0; MAX_FRAME + 1];
        assert_eq!(
            length(write_frame(&mut out, &big).expect_err("big")),
            MAX_FRAME + 1
        );
        assert!(out.is_empty());
    }

    #[test]
    fn frames_that_end_early_are_told_from_none() {
        assert!(matches!(read_frame(&mut &[][..]), Err(FrameError::Closed)));
        for bytes in [&[0][..], &[0, 0, 0, 2], &[0, 0, 0, 2, 7]] {
            assert!(
                matches!(read_frame(&mut &*bytes), Err(FrameError::Short)),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn one_deadline_holds_for_a_peer_that_trickles() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let trickle = std::thread::spawn(move || {
            let _ = theirs.write_all(&[0, 0, 0, 200]);
            while theirs.write_all(&[7]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let start = Instant::now();
        let until = start + Duration::from_millis(200);
        let result = read_frame(&mut Timed::new(&ours, until));
        assert!(matches!(result, Err(FrameError::TimedOut)), "{result:?}");
        assert!(start.elapsed() < Duration::from_secs(2));
        drop(ours);
        trickle.join().expect("ends");
    }

    #[test]
    fn a_peer_that_never_reads_does_not_hold_us() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let until = Instant::now() + Duration::from_millis(200);
        let mut timed = Timed::new(&ours, until);
        let frame = vec![1; 16 << 10];
        let error = (0..1000).find_map(|_| write_frame(&mut timed, &frame).err());
        assert!(matches!(error, Some(FrameError::TimedOut)), "{error:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(body in prop::collection::vec(any::<u8>(), 1..300)) {
            let mut out = Vec::new();
            write_frame(&mut out, &body).expect("fits");
            prop_assert_eq!(read_frame(&mut out.as_slice()).expect("whole"), body);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read_frame(&mut bytes.as_slice());
        }
    }
}
