//! Owns: the connections and their life.
//!
//! States: connecting → up → down (lost; tried again with growing pauses) → up ... → ended (dropped). One thread, the
//! supervisor, makes every transition; the event loop and failing calls only tell it. While down, calls are refused at
//! once.
//!
//! One connection carries the events and nothing else. Each call has a connection to itself while it runs (kept for the
//! next call, a few of them), for two reasons:
//! - libvirtd stops reading from a connection with `max_client_requests` (default 5) calls under way: hung domains
//!   would block the others;
//! - up to libvirt 10.3 the client library may crash when several threads call on one connection and one of the calls
//!   ends other than by an answer (CVE-2024-4418: a poll source is left behind that points into the stack of the call).
//!
//! `test:` connections have neither a daemon nor such a loop, and those to a file of theirs each a state of their own:
//! there all calls share the one connection.

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
    networks::Picture,
    sys::{
        callbacks::Sink,
        conn::Conn,
        failure::{Failure, SysResult},
    },
};

/// Connections that are kept while idle.
const IDLE_CONNECTIONS: usize = 4;

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

struct State {
    /// Counts the connections for events; those for calls belong to the one they were opened beside.
    generation: u64,
    status: Status,
    events: Option<Arc<Conn>>,
    idle: Vec<Conn>,
}

struct Shared {
    config: LibvirtConfig,
    /// The driver is part of this process and its one connection is shared.
    local: bool,
    state: Mutex<State>,
    supervisor: Sender<Message>,
    events: Arc<Fanout>,
    networks: Arc<Picture>,
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
    /// One could not be opened.
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
        let shared = Arc::new(Shared {
            local: config.uri.starts_with("test:"),
            events: Arc::new(Fanout::new(config.event_queue)),
            networks: Arc::default(),
            state: Mutex::new(State {
                generation: 0,
                status: Status::Down("connecting".into()),
                events: None,
                idle: Vec::new(),
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

    /// What is known of libvirt's networks.
    pub(crate) fn picture(&self) -> &Picture {
        &self.shared.networks
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
        events_alive(&self.shared)
    }

    /// Where calls take their connections from, for the thread of a call.
    pub(crate) fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.shared))
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

/// See [`Link::connections`].
pub(crate) struct Connections(Arc<Shared>);

impl Connections {
    /// A connection for one call. May block while it opens one.
    pub(crate) fn take(&self) -> Result<Borrowed, NoConnection> {
        let (generation, conn) = self.pick()?;
        let conn = match conn {
            Some(conn) => conn,
            None => Lent::Own(self.0.open().map_err(NoConnection::Refused)?),
        };
        Ok(Borrowed {
            shared: Arc::clone(&self.0),
            generation,
            conn: Some(conn),
        })
    }

    /// One that is there, and the generation of one that is not.
    fn pick(&self) -> Result<(u64, Option<Lent>), NoConnection> {
        let mut state = self.0.lock();
        if let Status::Down(why) = &state.status {
            return Err(NoConnection::Down(why.clone()));
        }
        let generation = state.generation;
        let Some(events) = state.events.as_ref().filter(|conn| conn.is_alive()) else {
            self.0.tell(Message::Suspect(generation));
            return Err(NoConnection::Down("connection lost".into()));
        };
        if self.0.local {
            return Ok((generation, Some(Lent::Shared(Arc::clone(events)))));
        }
        while let Some(conn) = state.idle.pop() {
            // Dead ones are dropped, which does not block.
            if conn.is_alive() {
                return Ok((generation, Some(Lent::Own(conn))));
            }
        }
        Ok((generation, None))
    }
}

enum Lent {
    Own(Conn),
    Shared(Arc<Conn>),
}

/// A connection lent to one call, given back when dropped.
pub(crate) struct Borrowed {
    shared: Arc<Shared>,
    generation: u64,
    /// `None` only within `drop`.
    conn: Option<Lent>,
}

impl Borrowed {
    /// The connection.
    pub(crate) fn conn(&self) -> Option<&Conn> {
        match self.conn.as_ref()? {
            Lent::Own(conn) => Some(conn),
            Lent::Shared(conn) => Some(conn),
        }
    }

    /// Tells the supervisor that the connection failed a call.
    pub(crate) fn suspect(&self) {
        self.shared.tell(Message::Suspect(self.generation));
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(Lent::Own(conn)) = self.conn.take() else {
            return;
        };
        let mut state = self.shared.lock();
        let current = state.generation == self.generation && matches!(state.status, Status::Up);
        if current && state.idle.len() < IDLE_CONNECTIONS && conn.is_alive() {
            state.idle.push(conn);
            return;
        }
        drop(state);
        // Closing may take a moment: not under the lock.
        drop(conn);
    }
}

/// What the event loop calls for one connection for events.
struct Listener {
    generation: u64,
    events: Arc<Fanout>,
    networks: Arc<Picture>,
    supervisor: Sender<Message>,
}

impl Sink for Listener {
    fn event(&self, event: HypervisorEvent) {
        if self.events.publish(&event) {
            let _ = self.supervisor.send(Message::Behind);
        }
    }

    fn network(&self, name: String) {
        self.networks.changed(name);
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
                if !events_alive(shared)
                    && lower(shared, generation, "connection lost")
                    && !restore(shared, messages)
                {
                    break;
                }
            }
            None => behind = shared.events.catch_up(),
        }
    }
    close_all(shared);
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

/// Opens the connection for events of `generation` and subscribes to them.
fn raise(shared: &Arc<Shared>, generation: u64) -> SysResult<()> {
    let conn = shared.open()?;
    let listener: Arc<dyn Sink> = Arc::new(Listener {
        generation,
        events: Arc::clone(&shared.events),
        networks: Arc::clone(&shared.networks),
        supervisor: shared.supervisor.clone(),
    });
    conn.subscribe(&listener)?;
    // From here on news are heard; what was seen before counts no more.
    let told = conn.subscribe_networks(&listener);
    shared.networks.renew(told);
    let mut state = shared.lock();
    state.generation = generation;
    state.events = Some(Arc::new(conn));
    state.status = Status::Up;
    Ok(())
}

fn events_alive(shared: &Shared) -> bool {
    let state = shared.lock();
    matches!(state.status, Status::Up) && state.events.as_ref().is_some_and(|conn| conn.is_alive())
}

/// Marks the connection of `generation` as lost. False if it is not the present one.
fn lower(shared: &Shared, generation: u64, why: &str) -> bool {
    let mut state = shared.lock();
    if state.generation != generation || !matches!(state.status, Status::Up) {
        return false;
    }
    state.status = Status::Down(why.into());
    let (events, idle) = (state.events.take(), std::mem::take(&mut state.idle));
    drop(state);
    tracing::warn!(uri = shared.config.uri, why, "connection to libvirt lost");
    // Those that are not known to be lost yet would be waited for.
    let closing = Builder::new()
        .name("libvirt-close".into())
        .spawn(move || drop((events, idle)));
    if let Err(error) = closing {
        tracing::error!(%error, "no thread to close connections to libvirt");
    }
    true
}

fn close_all(shared: &Shared) {
    let mut state = shared.lock();
    state.status = Status::Down("closed".into());
    let (events, idle) = (state.events.take(), std::mem::take(&mut state.idle));
    drop(state);
    drop((events, idle));
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
