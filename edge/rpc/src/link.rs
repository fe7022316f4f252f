//! One connection as one task: reads and decodes, lets its [`Role`] act, writes what the outbox
//! holds, keeps time.
//!
//! States: *open* -> *draining* (peer's half is closed or the server stops: nothing is read, what
//! runs is finished) -> *closing* (the rest is written, our half is closed, what the peer still
//! sends is thrown away for a moment so that it reads our last frame) -> end with a [`CloseReason`].
//! A failure of the socket, a slow reader or a silent peer end at once.
//!
//! Reading and writing share the task on purpose: a request whose answer is ready is read, answered
//! and written without waking anybody. Each frame is one write, hence one TLS record: Engine's Java
//! client, when two frames come in one record, leaves the second one lying until more data arrives.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::codec::Decoder;

use crate::frame::{Codec, Frame, FrameError, FrameLimits};
use crate::outbox::{Next, Outbox};

/// Bytes asked of the socket at a time; a large body grows the buffer and thereby this.
const READ_CHUNK: usize = 8 * 1024;
/// After a body larger than this the read buffer starts anew, so that no connection keeps the room
/// of the largest message it ever brought.
const KEPT_ROOM: usize = 256 * 1024;
/// Time for the last frames to leave once a connection closes.
const FLUSH_TIME: Duration = Duration::from_secs(5);
/// Time for the peer to read them and to close its half.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// A beat goes out when this share of the interval has passed without a write.
const BEAT_SHARE: (u32, u32) = (9, 10);
/// How often a peer that closed its half while something runs for it is sent a beat: one that closed both
/// answers the first with a reset, and the next one finds that out.
const PROBE: Duration = Duration::from_secs(1);
/// A peer is dead when it was silent for this many of its intervals.
const BEAT_GRACE: u32 = 2;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CloseReason {
    #[error("closed by the peer")]
    PeerClosed,
    #[error("disconnected by request")]
    Disconnected,
    #[error("shut down")]
    Shutdown,
    #[error("the peer does not read: {queued} bytes are queued")]
    SlowReader { queued: usize },
    #[error("the peer accepted no data for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("no complete frame within {} s", .0.as_secs())]
    NoFirstFrame(Duration),
    #[error("no heart-beat within {} ms", .0.as_millis())]
    NoHeartBeat(Duration),
    #[error("nothing was said for {} s, and nobody waits", .0.as_secs())]
    Idle(Duration),
    #[error("malformed frame: {0}")]
    Malformed(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("socket: {0}")]
    Io(String),
}

/// What the owner of a connection does with its frames.
pub(crate) trait Role {
    /// Acts on a frame.
    fn frame(&mut self, frame: Frame) -> Verdict;
    /// The bytes were no frame: say so to the peer before the connection closes.
    fn malformed(&mut self, error: &FrameError);
    /// Whether something runs that will still answer.
    fn busy(&self) -> bool;
    /// Whether the peer waits to be told something, so that its silence is no sign.
    fn waits(&self) -> bool;
}

/// What follows from a frame.
#[derive(Debug)]
pub(crate) enum Verdict {
    Continue,
    /// Heart-beats are agreed: we send that often, and the peer does; `None`: not at all.
    HeartBeat {
        send: Option<Duration>,
        expect: Option<Duration>,
    },
    Close(CloseReason),
}

/// Times that end a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkTimes {
    /// The first frame must be complete this long after `since`.
    pub(crate) first_frame: Option<(Instant, Duration)>,
    /// The peer must take some byte of what is queued within this time.
    pub(crate) stall: Duration,
    /// A peer without heart-beats that waits for nothing is closed after this time without a byte from it.
    pub(crate) idle: Option<Duration>,
}

pub(crate) struct Link<S> {
    stream: S,
    codec: Codec,
    input: BytesMut,
    outbox: Arc<Outbox>,
    /// The rest of the frame being written.
    writing: Bytes,
    flushed: bool,
    read_closed: bool,
    draining: bool,
    beat_send: Option<Duration>,
    beat_expect: Option<Duration>,
    last_in: Instant,
    /// When the peer last gave a reason to keep it: by a byte, or by waiting.
    last_seen: Instant,
    last_out: Instant,
    stalled: Option<Instant>,
    times: LinkTimes,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How the open phase ended.
enum Ended {
    /// Write what is queued, then close.
    Politely(CloseReason),
    /// Close at once.
    Abruptly(CloseReason),
}

enum Output {
    Idle,
    Blocked,
}

enum Input {
    Progress,
    Blocked,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link over a stream of which `input` is already read.
    pub(crate) fn new(
        stream: S,
        input: BytesMut,
        limits: FrameLimits,
        outbox: Arc<Outbox>,
        times: LinkTimes,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            codec: Codec::new(limits),
            input,
            outbox,
            writing: Bytes::new(),
            flushed: true,
            read_closed: false,
            draining: false,
            beat_send: None,
            beat_expect: None,
            last_in: now,
            last_seen: now,
            last_out: now,
            stalled: None,
            times,
            timer: None,
        }
    }

    /// Runs the connection to its end.
    pub(crate) async fn run<R: Role>(mut self, role: &mut R) -> CloseReason {
        if let Some(ended) = self.decode(role) {
            return self.close(ended).await;
        }
        let ended = poll_fn(|cx| self.poll_open(role, cx)).await;
        self.close(ended).await
    }

    async fn close(mut self, ended: Ended) -> CloseReason {
        let reason = match ended {
            Ended::Abruptly(reason) => return reason,
            Ended::Politely(reason) => reason,
        };
        let flush = poll_fn(|cx| match self.poll_output(cx) {
            Ok(Output::Blocked) => Poll::Pending,
            Ok(Output::Idle) => Poll::Ready(true),
            Err(_) => Poll::Ready(false),
        });
        if timeout(FLUSH_TIME, flush).await == Ok(true) {
            linger(&mut self.stream).await;
        }
        reason
    }

    fn poll_open<R: Role>(&mut self, role: &mut R, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let output = match self.poll_output(cx) {
                Ok(output) => output,
                Err(reason) => return Poll::Ready(Ended::Abruptly(reason)),
            };
            if self.draining || self.read_closed {
                if matches!(output, Output::Idle) && !role.busy() {
                    return Poll::Ready(Ended::Politely(self.drained()));
                }
                break;
            }
            match self.poll_input(role, cx) {
                Ok(Input::Progress) => {}
                Ok(Input::Blocked) => break,
                Err(ended) => return Poll::Ready(ended),
            }
        }
        self.poll_timers(role, cx).map(Ended::Abruptly)
    }

    fn drained(&self) -> CloseReason {
        if self.draining {
            CloseReason::Shutdown
        } else {
            CloseReason::PeerClosed
        }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<Output, CloseReason> {
        loop {
            if self.writing.is_empty() {
                match self.outbox.next(cx) {
                    Next::Frame(frame) => self.writing = frame,
                    Next::Ended(reason) => return Err(reason),
                    Next::Empty { draining } => {
                        self.draining |= draining;
                        return self.poll_flush(cx);
                    }
                }
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.writing) {
                Poll::Ready(Ok(0)) => return Err(broken(&io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.wrote(count),
                Poll::Ready(Err(error)) => return Err(broken(&error)),
                Poll::Pending => return self.blocked(cx),
            }
        }
    }

    fn wrote(&mut self, count: usize) {
        self.writing.advance(count);
        self.outbox.written(count);
        self.flushed = false;
        self.stalled = None;
        self.last_out = Instant::now();
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Output, CloseReason> {
        if self.flushed {
            return Ok(Output::Idle);
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.flushed = true;
                self.stalled = None;
                Ok(Output::Idle)
            }
            Poll::Ready(Err(error)) => Err(broken(&error)),
            Poll::Pending => self.blocked(cx),
        }
    }

    /// The socket takes nothing now; somebody may still end the connection meanwhile.
    fn blocked(&mut self, cx: &Context<'_>) -> Result<Output, CloseReason> {
        self.stalled.get_or_insert_with(Instant::now);
        match self.outbox.poll_ended(cx) {
            Poll::Ready(reason) => Err(reason),
            Poll::Pending => Ok(Output::Blocked),
        }
    }

    fn poll_input<R: Role>(&mut self, role: &mut R, cx: &mut Context<'_>) -> Result<Input, Ended> {
        self.input.reserve(READ_CHUNK);
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Pending => return Ok(Input::Blocked),
            Poll::Ready(Ok(0)) => self.half_closed(),
            Poll::Ready(Ok(_)) => self.last_in = Instant::now(),
            Poll::Ready(Err(error)) => return Err(Ended::Abruptly(broken(&error))),
        }
        self.decode(role).map_or(Ok(Input::Progress), Err)
    }

    fn half_closed(&mut self) {
        self.read_closed = true;
        self.last_out = Instant::now();
        self.beat_send = Some(self.beat_send.map_or(PROBE, |every| every.min(PROBE)));
    }

    /// Acts on all complete frames read.
    fn decode<R: Role>(&mut self, role: &mut R) -> Option<Ended> {
        loop {
            let frame = match self.codec.decode(&mut self.input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => {
                    role.malformed(&error);
                    return Some(Ended::Politely(CloseReason::Malformed(error.to_string())));
                }
            };
            self.times.first_frame = None;
            if frame.body.len() > KEPT_ROOM {
                self.input = BytesMut::from(self.input.as_ref());
            }
            match role.frame(frame) {
                Verdict::Continue => {}
                Verdict::HeartBeat { send, expect } => {
                    self.beat_send = send.map(|every| every * BEAT_SHARE.0 / BEAT_SHARE.1);
                    self.beat_expect = expect.map(|every| every * BEAT_GRACE);
                }
                Verdict::Close(reason) => return Some(Ended::Politely(reason)),
            }
        }
    }

    /// Ends the connection when a time is up; else sees to it that the task wakes for the next one.
    fn poll_timers<R: Role>(&mut self, role: &R, cx: &mut Context<'_>) -> Poll<CloseReason> {
        loop {
            let Some(next) = self.next_deadline() else {
                return Poll::Pending;
            };
            match &mut self.timer {
                // A timer that fires too early costs one look; moving it with each frame costs more.
                Some(timer) if timer.deadline() <= next => {}
                Some(timer) => timer.as_mut().reset(next),
                None => self.timer = Some(Box::pin(sleep_until(next))),
            }
            let Some(timer) = &mut self.timer else {
                return Poll::Pending;
            };
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            let now = Instant::now();
            if let Some(reason) = self.overdue(now).or_else(|| self.idle(role, now)) {
                return Poll::Ready(reason);
            }
            self.beat(now, cx);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        // Beats wait while the socket takes nothing: the queue speaks for itself.
        let send = self
            .beat_send
            .filter(|_| self.stalled.is_none())
            .map(|it| self.last_out + it);
        [
            self.times.first_frame.map(|(since, time)| since + time),
            self.beat_expect
                .filter(|_| !self.read_closed)
                .map(|time| self.last_in + time),
            self.stalled.map(|since| since + self.times.stall),
            self.idle_limit().map(|time| self.last_seen + time),
            send,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn overdue(&self, now: Instant) -> Option<CloseReason> {
        if let Some((since, time)) = self.times.first_frame
            && now >= since + time
        {
            return Some(CloseReason::NoFirstFrame(time));
        }
        if self
            .stalled
            .is_some_and(|since| now >= since + self.times.stall)
        {
            return Some(CloseReason::Stalled(self.times.stall));
        }
        let silent = self.beat_expect.filter(|_| !self.read_closed)?;
        (now >= self.last_in + silent).then_some(CloseReason::NoHeartBeat(silent))
    }

    /// The limit of silence, where silence means nothing else.
    fn idle_limit(&self) -> Option<Duration> {
        self.times
            .idle
            .filter(|_| self.beat_expect.is_none() && !self.read_closed)
    }

    fn idle<R: Role>(&mut self, role: &R, now: Instant) -> Option<CloseReason> {
        let limit = self.idle_limit()?;
        if now < self.last_seen.max(self.last_in) + limit {
            self.last_seen = self.last_seen.max(self.last_in);
            return None;
        }
        if role.busy() || role.waits() {
            self.last_seen = now;
            return None;
        }
        Some(CloseReason::Idle(limit))
    }

    /// Queues a beat if one is due, and has the task look at its outbox again.
    fn beat(&mut self, now: Instant, cx: &Context<'_>) {
        let due = self
            .beat_send
            .is_some_and(|every| now >= self.last_out + every);
        if due && self.stalled.is_none() {
            self.last_out = now;
            self.outbox.push_quiet(Bytes::from_static(b"\n"));
            cx.waker().wake_by_ref();
        }
    }
}

fn broken(error: &io::Error) -> CloseReason {
    if error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
    {
        return CloseReason::Tls(error.to_string());
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => CloseReason::PeerClosed,
        _ => CloseReason::Io(error.to_string()),
    }
}

/// Closes our half and throws away what still comes, so that the peer gets our last bytes and not
/// a reset.
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let wait = async {
        stream.shutdown().await?;
        let mut sink = [0; 4096];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the peer closed in time does not matter any more.
    let _ = timeout(LINGER_TIME, wait).await;
}
