//! JSON-RPC requests of one connection: run, answered, counted.
//!
//! States of a request: *polled* once where it was read -> *answered* there, or *running* as a task
//! of its own -> *answered*. The answer goes by the connection and queue that the request came with;
//! ids are only echoed, so the same id may run twice, here or on another connection.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::{Call, CallContext, ConnectionId, Gone, PeerInfo, Service, Shared};
use crate::jsonrpc::{self, Incoming, RESOURCE_EXHAUSTED, Rejected, Reply, Request, RpcError};
use crate::outbox::Outbox;

/// A call that runs, a panic caught.
type Running = Pin<Box<dyn Future<Output = Result<Reply, Box<dyn Any + Send>>> + Send>>;

/// [`Service`] as an object.
pub(super) trait DynService: Send + Sync + 'static {
    fn start(self: Arc<Self>, call: Call) -> Running;
}

impl<S: Service> DynService for S {
    fn start(self: Arc<Self>, call: Call) -> Running {
        Box::pin(AssertUnwindSafe(async move { self.call(call).await }).catch_unwind())
    }
}

/// The requests of one connection.
pub(super) struct Caller {
    shared: Arc<Shared>,
    connection: ConnectionId,
    peer: Arc<PeerInfo>,
    outbox: Arc<Outbox>,
    running: AtomicUsize,
    gone: Gone,
}

/// Where answers go, and whose logs they belong to.
struct Route {
    caller: Arc<Caller>,
    reply_to: Option<String>,
    flow_id: Option<String>,
}

/// A request after its first poll.
enum Started {
    Answered(Reply),
    Running(Running),
}

/// One element of a batch.
enum Element {
    Answered(Option<Box<RawValue>>, Reply),
    Running(Box<RawValue>, tokio::task::JoinHandle<Option<Reply>>),
}

impl Caller {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: ConnectionId,
        peer: Arc<PeerInfo>,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self {
            shared,
            connection,
            peer,
            outbox,
            running: AtomicUsize::new(0),
            gone: Gone(CancellationToken::new()),
        }
    }

    /// The connection has ended: whoever looks may stop.
    pub(super) fn hang_up(&self) {
        self.gone.0.cancel();
    }

    /// Whether requests of the connection still run.
    pub(super) fn busy(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// Acts on a message to a request queue.
    pub(super) fn serve(
        self: &Arc<Self>,
        body: &Bytes,
        reply_to: Option<String>,
        flow_id: Option<String>,
    ) {
        let route = Route {
            caller: self.clone(),
            reply_to,
            flow_id,
        };
        match jsonrpc::parse(body, self.shared.config.limits.batch) {
            Incoming::Single(Ok(request)) => route.serve_one(request),
            Incoming::Single(Err(Rejected { id, error })) => {
                route.answer(id.as_deref(), &Err(error));
            }
            Incoming::Batch(items) => route.serve_batch(items),
        }
    }
}

impl Route {
    fn serve_one(self, request: Request) {
        let (id, method, params) = (request.id, request.method, request.params);
        match self.start(id.is_none(), method, params) {
            Started::Answered(reply) => {
                if let Some(id) = id {
                    self.answer(Some(&id), &reply);
                }
            }
            Started::Running(call) => {
                let (guard, shared) = (self.count(), self.caller.shared.clone());
                spawn(&shared, async move {
                    let reply = finish(call).await;
                    if let Some(id) = id {
                        self.answer(Some(&id), &reply);
                    }
                    drop(guard);
                });
            }
        }
    }

    fn serve_batch(self, items: Vec<Result<Request, Rejected>>) {
        let elements: Vec<Element> = items
            .into_iter()
            .filter_map(|item| self.start_element(item))
            .collect();
        if elements
            .iter()
            .all(|element| matches!(element, Element::Answered(..)))
        {
            let replies = elements.into_iter().filter_map(|element| match element {
                Element::Answered(id, reply) => Some((id, reply)),
                Element::Running(..) => None,
            });
            return self.answer_all(replies.collect());
        }
        let (guard, shared) = (self.count(), self.caller.shared.clone());
        spawn(&shared, async move {
            let mut replies = Vec::with_capacity(elements.len());
            for element in elements {
                match element {
                    Element::Answered(id, reply) => replies.push((id, reply)),
                    Element::Running(id, task) => {
                        // Only the end of the server aborts a call, and this task with it.
                        let Ok(Some(reply)) = task.await else { return };
                        replies.push((Some(id), reply));
                    }
                }
            }
            self.answer_all(replies);
            drop(guard);
        });
    }

    /// Starts one element; `None` if it will have no answer.
    fn start_element(&self, item: Result<Request, Rejected>) -> Option<Element> {
        let request = match item {
            Err(Rejected { id, error }) => return Some(Element::Answered(id, Err(error))),
            Ok(request) => request,
        };
        let (id, method, params) = (request.id, request.method, request.params);
        match (self.start(id.is_none(), method, params), id) {
            (Started::Answered(reply), Some(id)) => Some(Element::Answered(Some(id), reply)),
            (Started::Answered(_), None) => None,
            (Started::Running(call), id) => {
                let guard = self.count();
                let task = spawn(&self.caller.shared, async move {
                    let reply = finish(call).await;
                    drop(guard);
                    reply
                });
                id.map(|id| Element::Running(id, task))
            }
        }
    }

    /// Polls a request for the first time. A future that is not ready is polled again by its own
    /// task, which leaves its own waker; so the first one need not wake anybody.
    fn start(&self, notification: bool, method: String, params: Option<Box<RawValue>>) -> Started {
        let shared = &self.caller.shared;
        if self.caller.running.load(Ordering::Acquire) >= shared.config.limits.in_flight {
            tracing::warn!(connection = %self.caller.connection, "too many requests run");
            return Started::Answered(Err(exhausted()));
        }
        let call = Call {
            context: CallContext {
                flow_id: self.flow_id.clone(),
                peer: self.caller.peer.clone(),
                connection: self.caller.connection,
                notification,
                gone: self.caller.gone.clone(),
            },
            method,
            params,
        };
        let mut running = shared.service.clone().start(call);
        match running
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(outcome) => Started::Answered(unwound(outcome)),
            Poll::Pending => Started::Running(running),
        }
    }

    fn count(&self) -> Count {
        self.caller.running.fetch_add(1, Ordering::AcqRel);
        Count(self.caller.clone())
    }

    fn answer(&self, id: Option<&RawValue>, reply: &Reply) {
        let mut body = Vec::with_capacity(128);
        jsonrpc::write_response(&mut body, id, reply);
        self.deliver(&body);
    }

    fn answer_all(&self, replies: Vec<(Option<Box<RawValue>>, Reply)>) {
        if replies.is_empty() {
            return;
        }
        let mut body = vec![b'['];
        for (index, (id, reply)) in replies.iter().enumerate() {
            if index > 0 {
                body.extend_from_slice(b", ");
            }
            jsonrpc::write_response(&mut body, id.as_deref(), reply);
        }
        body.push(b']');
        self.deliver(&body);
    }

    fn deliver(&self, body: &[u8]) {
        let caller = &self.caller;
        let Some(reply_to) = &self.reply_to else {
            tracing::debug!(connection = %caller.connection, "answer dropped: no reply-to");
            return;
        };
        if caller.shared.hub.reply(caller.connection, reply_to, body) == 0 {
            tracing::debug!(connection = %caller.connection, %reply_to, "answer dropped: no subscriber");
        }
    }
}

/// A request that runs, for as long as this lives. When it ends the connection's task is woken: it
/// has an answer to write, or a drained connection to close.
struct Count(Arc<Caller>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.outbox.wake();
    }
}

/// Runs beside the connection, until the server is killed (`None`).
fn spawn<T: Send + 'static>(
    shared: &Arc<Shared>,
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<Option<T>> {
    let kill = shared.kill.clone();
    shared.calls.spawn(async move {
        tokio::select! {
            output = task => Some(output),
            () = kill.cancelled() => None,
        }
    })
}

async fn finish(call: Running) -> Reply {
    unwound(call.await)
}

fn unwound(outcome: Result<Reply, Box<dyn Any + Send>>) -> Reply {
    outcome.unwrap_or_else(|panic| {
        // A text that was composed may hold parameters, which no log may show.
        let text = panic.downcast_ref::<&str>().copied();
        tracing::error!(panic = text.unwrap_or("not shown"), "a call panicked");
        Err(RpcError::internal("the call panicked"))
    })
}

/// As upstream answers when its executor is full.
fn exhausted() -> RpcError {
    RpcError::with_context(
        RESOURCE_EXHAUSTED,
        "Not enough resources",
        &[("reason", "Too many requests run on this connection")],
    )
}
