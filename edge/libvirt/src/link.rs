//! Owns: the connections and their life.
//!
//! States: connecting → up → down (lost; tried again with growing pauses) → up ... → ended (dropped). One thread, the
//! supervisor, makes every transition; the event loop and failing calls only tell it. While down, calls are refused at
//! once.
//!
//! The first connection carries the events. libvirtd stops reading from a connection with too many requests under way,
//! so calls beyond `requests_per_connection` go over further connections, opened when needed and closed when idle.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use vm_model::ports::HypervisorEvent;

use crate::{
    LibvirtConfig,
    fanout::Fanout,
    sys::{
        callbacks::Sink,
        conn::Conn,
        failure::{Failure, SysResult},
    },
};

/// Further connections that are kept while idle.
const IDLE_CONNECTIONS: usize = 1;

/// How long the end of the supervisor is waited for.
const END_WAIT: Duration = Duration::from_secs(2);

/// Pause between attempts to tell receivers of events that they are behind.
const CATCH_UP: Duration = Duration::from_millis(50);

enum Message {
    /// libvirt says that the connection of that generation is gone.
    Lost(u64, i32),
    /// A call on it failed as if it were gone.
    Suspect(u64),
    /// A receiver of events is behind.
    Behind,
    /// The end.
    End,
}

enum Status {
    Up,
    Down(String),
}

struct Lane {
    serial: u64,
    conn: Arc<Conn>,
    busy: usize,
}

struct State {
    /// Counts the first connections.
    generation: u64,
    status: Status,
    /// The first one carries the events.
    lanes: Vec<Lane>,
    next_serial: u64,
}

struct Shared {
    config: LibvirtConfig,
    per_connection: usize,
    state: Mutex<State>,
    supervisor: Sender<Message>,
    events: Arc<Fanout>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, message: Message) {
        // A supervisor that has ended needs no news.
        let _ = self.supervisor.send(message);
    }

    fn open(&self) -> SysResult<Conn> {
        let config = &self.config;
        Conn::open(
            &config.uri,
            config.credentials.as_ref(),
            (config.keepalive_interval, config.keepalive_count),
        )
    }
}

/// Why there is no connection for a call.
pub(crate) enum NoConnection {
    /// It is down; this is why.
    Down(String),
    /// A further connection could not be opened.
    Refused(Failure),
}

/// The connections.
pub(crate) struct Link {
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
    ended: Mutex<Receiver<()>>,
}

impl Link {
    /// Connects. `None` if it takes longer than the configuration allows.
    pub(crate) fn connect(config: LibvirtConfig) -> Option<SysResult<Self>> {
        let (supervisor, messages) = channel();
        // Drivers in this process count no requests, and each connection to a file of theirs has a state of its own.
        let local = config.uri.starts_with("test:");
        let shared = Arc::new(Shared {
            per_connection: if local {
                usize::MAX
            } else {
                config.requests_per_connection.max(1)
            },
            events: Arc::new(Fanout::new(config.event_queue)),
            state: Mutex::new(State {
                generation: 0,
                status: Status::Down("connecting".into()),
                lanes: Vec::new(),
                next_serial: 0,
            }),
            supervisor,
            config,
        });
        let (first, wait) = sync_channel(1);
        let (end, ended) = sync_channel(0);
        let own = Arc::clone(&shared);
        let thread = Builder::new().name("libvirt-link".into()).spawn(move || {
            supervise(&own, &messages, &first);
            drop(own);
            drop(end);
        });
        let link = match thread {
            Ok(thread) => Self {
                shared,
                supervisor: Some(thread),
                ended: ended.into(),
            },
            Err(error) => {
                return Some(Err(Failure::internal(format!(
                    "thread for the connection: {error}"
                ))));
            }
        };
        match wait.recv_timeout(link.shared.config.connect_timeout) {
            Ok(Ok(())) => Some(Ok(link)),
            Ok(Err(failure)) => Some(Err(failure)),
            Err(_) => None,
        }
    }

    pub(crate) fn config(&self) -> &LibvirtConfig {
        &self.shared.config
    }

    pub(crate) fn events(&self) -> &Fanout {
        &self.shared.events
    }

    /// `Err` says why the connection is down.
    pub(crate) fn status(&self) -> Result<(), String> {
        match &self.shared.lock().status {
            Status::Up => Ok(()),
            Status::Down(why) => Err(why.clone()),
        }
    }

    /// True while the connection stands.
    pub(crate) fn is_alive(&self) -> bool {
        let first = match &*self.shared.lock() {
            State {
                status: Status::Up,
                lanes,
                ..
            } => lanes.first().map(|lane| Arc::clone(&lane.conn)),
            State { .. } => None,
        };
        first.is_some_and(|conn| conn.is_alive())
    }

    /// What makes connections for calls, for the thread of a call.
    pub(crate) fn lanes(&self) -> Lanes {
        Lanes(Arc::clone(&self.shared))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.tell(Message::End);
        // A supervisor that is opening a connection to a daemon that does not answer is left behind.
        let waited = self
            .ended
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(END_WAIT);
        if !matches!(waited, Err(RecvTimeoutError::Timeout))
            && let Some(thread) = self.supervisor.take()
        {
            let _ = thread.join();
        }
    }
}

/// See [`Link::lanes`].
pub(crate) struct Lanes(Arc<Shared>);

impl Lanes {
    /// A connection with room for one more request. May block while it opens one.
    pub(crate) fn take(&self) -> Result<Borrowed, NoConnection> {
        let generation = match self.pick()? {
            Picked::Lane(lane) => return Ok(lane),
            Picked::Full(generation) => generation,
        };
        let conn = Arc::new(self.0.open().map_err(NoConnection::Refused)?);
        let mut state = self.0.lock();
        if state.generation != generation || !matches!(state.status, Status::Up) {
            return Err(NoConnection::Down(
                "the connection was lost meanwhile".into(),
            ));
        }
        let serial = state.next_serial;
        state.next_serial += 1;
        state.lanes.push(Lane {
            serial,
            conn: Arc::clone(&conn),
            busy: 1,
        });
        drop(state);
        Ok(Borrowed {
            shared: Arc::clone(&self.0),
            serial,
            generation,
            conn,
        })
    }

    fn pick(&self) -> Result<Picked, NoConnection> {
        let mut state = self.0.lock();
        if let Status::Down(why) = &state.status {
            return Err(NoConnection::Down(why.clone()));
        }
        let generation = state.generation;
        if state.lanes.first().is_none_or(|lane| !lane.conn.is_alive()) {
            self.0.tell(Message::Suspect(generation));
            return Err(NoConnection::Down("connection lost".into()));
        }
        let lane = state
            .lanes
            .iter_mut()
            .find(|lane| lane.busy < self.0.per_connection && lane.conn.is_alive());
        let Some(lane) = lane else {
            return Ok(Picked::Full(generation));
        };
        lane.busy += 1;
        let (serial, conn) = (lane.serial, Arc::clone(&lane.conn));
        Ok(Picked::Lane(Borrowed {
            shared: Arc::clone(&self.0),
            serial,
            generation,
            conn,
        }))
    }
}

enum Picked {
    Lane(Borrowed),
    /// All connections of that generation have as many requests as they may.
    Full(u64),
}

/// A connection lent to one call, given back when dropped.
pub(crate) struct Borrowed {
    shared: Arc<Shared>,
    serial: u64,
    generation: u64,
    conn: Arc<Conn>,
}

impl Borrowed {
    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Tells the supervisor that the connection failed a call.
    pub(crate) fn suspect(&self) {
        self.shared.tell(Message::Suspect(self.generation));
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let idle = state
            .lanes
            .iter()
            .skip(1)
            .filter(|lane| lane.busy == 0)
            .count();
        let found = state
            .lanes
            .iter()
            .position(|lane| lane.serial == self.serial);
        let mut unneeded = None;
        if let Some(index) = found
            && let Some(lane) = state.lanes.get_mut(index)
        {
            lane.busy -= 1;
            let surplus =
                index > 0 && lane.busy == 0 && (idle >= IDLE_CONNECTIONS || !lane.conn.is_alive());
            if surplus {
                unneeded = Some(state.lanes.remove(index));
            }
        }
        drop(state);
        // Closing may block for a moment: not under the lock.
        drop(unneeded);
    }
}

/// What the event loop calls for one first connection.
struct Listener {
    generation: u64,
    events: Arc<Fanout>,
    supervisor: Sender<Message>,
}

impl Sink for Listener {
    fn event(&self, event: HypervisorEvent) {
        if self.events.publish(&event) {
            let _ = self.supervisor.send(Message::Behind);
        }
    }

    fn closed(&self, reason: i32) {
        let _ = self.supervisor.send(Message::Lost(self.generation, reason));
    }
}

fn supervise(
    shared: &Arc<Shared>,
    messages: &Receiver<Message>,
    first: &SyncSender<SysResult<()>>,
) {
    let answer = raise(shared, 1);
    let stop = answer.is_err();
    // Nobody waits any more if it took too long; then End is in the queue by now or soon.
    let _ = first.send(answer);
    if stop {
        return;
    }
    let mut behind = false;
    loop {
        match next(messages, behind) {
            Some(Message::End) => break,
            Some(Message::Behind) => behind = true,
            Some(Message::Lost(generation, reason)) => {
                if lower(shared, generation, close_reason(reason)) && !restore(shared, messages) {
                    break;
                }
            }
            Some(Message::Suspect(generation)) => {
                if !first_is_alive(shared)
                    && lower(shared, generation, "connection lost")
                    && !restore(shared, messages)
                {
                    break;
                }
            }
            None => behind = shared.events.catch_up(),
        }
    }
    lower_any(shared);
}

/// The next message; `None` when it is time to look after receivers that are behind.
fn next(messages: &Receiver<Message>, behind: bool) -> Option<Message> {
    if !behind {
        return Some(messages.recv().unwrap_or(Message::End));
    }
    match messages.recv_timeout(CATCH_UP) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Message::End),
    }
}

/// Opens the first connection of `generation` and subscribes to its events.
fn raise(shared: &Arc<Shared>, generation: u64) -> SysResult<()> {
    let conn = shared.open()?;
    let listener: Arc<dyn Sink> = Arc::new(Listener {
        generation,
        events: Arc::clone(&shared.events),
        supervisor: shared.supervisor.clone(),
    });
    conn.subscribe(&listener)?;
    let mut state = shared.lock();
    state.generation = generation;
    let serial = state.next_serial;
    state.next_serial += 1;
    state.lanes = vec![Lane {
        serial,
        conn: Arc::new(conn),
        busy: 0,
    }];
    state.status = Status::Up;
    Ok(())
}

fn first_is_alive(shared: &Shared) -> bool {
    let first = shared
        .lock()
        .lanes
        .first()
        .map(|lane| Arc::clone(&lane.conn));
    first.is_some_and(|conn| conn.is_alive())
}

/// Marks the connection of `generation` as lost. False if it is not the present one.
fn lower(shared: &Shared, generation: u64, why: &str) -> bool {
    let mut state = shared.lock();
    if state.generation != generation || !matches!(state.status, Status::Up) {
        return false;
    }
    state.status = Status::Down(why.into());
    let lanes = std::mem::take(&mut state.lanes);
    drop(state);
    tracing::warn!(uri = shared.config.uri, why, "connection to libvirt lost");
    drop(lanes);
    true
}

fn lower_any(shared: &Shared) {
    let mut state = shared.lock();
    state.status = Status::Down("closed".into());
    let lanes = std::mem::take(&mut state.lanes);
    drop(state);
    drop(lanes);
}

/// Tries until the connection is there again. False if the end came first.
fn restore(shared: &Arc<Shared>, messages: &Receiver<Message>) -> bool {
    let lost = Instant::now();
    let mut pause = shared.config.reconnect_min;
    let mut attempts = 0_u32;
    loop {
        if !wait(messages, pause) {
            return false;
        }
        attempts += 1;
        let generation = shared.lock().generation + 1;
        match raise(shared, generation) {
            Ok(()) => break,
            Err(failure) => {
                tracing::debug!(
                    attempts,
                    error = failure.message,
                    "no connection to libvirt yet"
                );
                shared.lock().status = Status::Down(failure.message);
            }
        }
        pause = (pause * 2).min(shared.config.reconnect_max);
    }
    tracing::info!(uri = shared.config.uri, attempts, after = ?lost.elapsed(), "connection to libvirt restored");
    if shared.events.publish(&HypervisorEvent::Reconnected) {
        shared.tell(Message::Behind);
    }
    true
}

/// Waits for `pause`. False if the end came.
fn wait(messages: &Receiver<Message>, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    loop {
        match messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return false,
            // News of connections that are gone, or of receivers that are told by `Reconnected` anyway.
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

/// `virConnectCloseReason` in words.
fn close_reason(reason: i32) -> &'static str {
    match reason.unsigned_abs() {
        virt_sys::VIR_CONNECT_CLOSE_REASON_ERROR => "error of the connection",
        virt_sys::VIR_CONNECT_CLOSE_REASON_EOF => "libvirt closed the connection",
        virt_sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE => {
            "libvirt does not answer keepalive messages"
        }
        virt_sys::VIR_CONNECT_CLOSE_REASON_CLIENT => "closed",
        _ => "connection lost",
    }
}
