//! The interface: making, watching, stopping, reverting and clearing tasks.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use persist::{PersistError, Store};
use uuid::Uuid;

use crate::{
    RecoveryReport, State, TaskContext, TaskDetails, TaskError, TaskEvent, TaskFailure, TaskId,
    TaskInfo, TaskOutput, TaskSpec, TaskStatus, UndoRunner,
    context::unknown,
    events::Subscribers,
    queue::Queue,
    recovery,
    task::{INITIALIZING, RECORD_VERSION, Record, Task},
    worker,
};

/// Bounds of the framework; the defaults are upstream's (`irs.thread_pool_size`, `irs.max_tasks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Jobs that run at a time.
    pub threads: usize,
    /// Tasks that may wait for a thread.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 10,
            queue: 500,
        }
    }
}

/// All tasks of one folder. Share it in an `Arc`. Dropping it lets no further job begin; jobs that run go
/// on: see [`TaskManager::close`].
pub struct TaskManager {
    inner: Arc<Inner>,
}

/// What the manager, the contexts and the workers share.
pub(crate) struct Inner {
    pub(crate) store: Store<Record>,
    pub(crate) undo: Arc<dyn UndoRunner>,
    pub(crate) queue: Arc<Queue>,
    config: Config,
    tasks: Mutex<HashMap<TaskId, Arc<Task>>>,
    next_sequence: AtomicU64,
    subscribers: Subscribers,
}

impl TaskManager {
    /// Opens a folder of tasks (made if missing). What a killed process has left unfinished is rolled back
    /// through `undo` before this returns; only an unreadable folder is an error.
    pub fn open(
        dir: &Path,
        config: Config,
        undo: Arc<dyn UndoRunner>,
    ) -> Result<(Self, RecoveryReport), TaskError> {
        let store = Store::open(dir, RECORD_VERSION).map_err(TaskError::Open)?;
        let (tasks, report) = recovery::recover(&store, &*undo)?;
        let newest = tasks
            .values()
            .filter_map(|task| Some(task.record()?.sequence))
            .max();
        let inner = Inner {
            store,
            undo,
            queue: Arc::new(Queue::default()),
            config: Config {
                threads: config.threads.max(1),
                ..config
            },
            tasks: Mutex::new(tasks),
            next_sequence: AtomicU64::new(newest.unwrap_or(0) + 1),
            subscribers: Subscribers::default(),
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            report,
        ))
    }

    /// Makes a task and returns at once. Its record is on disk before its job starts; on an error there is
    /// no task and the job never runs.
    pub fn submit(
        &self,
        spec: TaskSpec,
        job: impl FnOnce(&TaskContext) -> Result<TaskOutput, TaskFailure> + Send + 'static,
    ) -> Result<TaskId, TaskError> {
        self.inner.queue.reserve(self.inner.config.queue)?;
        let task = match self.inner.add(spec) {
            Ok(task) => task,
            Err(error) => {
                self.inner.queue.release();
                return Err(TaskError::Persist(error));
            }
        };
        let id = task.id;
        let context = TaskContext {
            inner: self.inner.clone(),
            task,
        };
        let work = Box::new(move || worker::run(&context, job));
        if let Err(error) = self.inner.queue.push(work, self.inner.config.threads) {
            self.inner.forget(id);
            return Err(error);
        }
        Ok(id)
    }

    /// `Task.getStatus`. The id is as it came from the wire.
    pub fn status(&self, id: &str) -> Result<TaskStatus, TaskError> {
        let task = self.inner.find(id)?;
        task.status().ok_or_else(|| unknown(task.id))
    }

    /// `Task.getInfo`.
    pub fn info(&self, id: &str) -> Result<TaskInfo, TaskError> {
        let task = self.inner.find(id)?;
        task.info().ok_or_else(|| unknown(task.id))
    }

    /// `Host.getAllTasksStatuses`: all, or those of a tag; oldest first.
    pub fn statuses(&self, tag: Option<&str>) -> Vec<TaskStatus> {
        self.inner
            .list(tag)
            .iter()
            .filter_map(|task| task.status())
            .collect()
    }

    /// `Host.getAllTasksInfo`: all, or those of a tag; oldest first.
    pub fn infos(&self, tag: Option<&str>) -> Vec<TaskInfo> {
        self.inner
            .list(tag)
            .iter()
            .filter_map(|task| task.info())
            .collect()
    }

    /// `Host.getAllTasks`; oldest first.
    pub fn all(&self) -> Vec<TaskDetails> {
        self.inner
            .list(None)
            .iter()
            .filter_map(|task| task.details())
            .collect()
    }

    /// `Task.stop`: asks the job to end; everything is then rolled back. Returns at once. Nothing happens if
    /// it has ended, has been asked before, or is being rolled back (upstream aborts the rollback: here it
    /// goes on, as half a rollback helps nobody).
    pub fn stop(&self, id: &str) -> Result<(), TaskError> {
        let task = self.inner.find(id)?;
        self.inner.ask_to_stop(&task);
        Ok(())
    }

    /// `Task.revert`: undoes a task that had succeeded, in the background. Refused for one that runs (403)
    /// and for one that was rolled back (441), as upstream.
    pub fn revert(&self, id: &str) -> Result<(), TaskError> {
        let task = self.inner.find(id)?;
        self.inner.queue.reserve(self.inner.config.queue)?;
        if let Err(error) = self.inner.begin_revert(&task) {
            self.inner.queue.release();
            return Err(error);
        }
        self.inner.tell(&task);
        let context = TaskContext {
            inner: self.inner.clone(),
            task,
        };
        let work = Box::new(move || worker::roll_back(&context));
        self.inner.queue.push(work, self.inner.config.threads)
    }

    /// `Task.clear`: forgets a task that has come to its end; refused before (410). A second time it is
    /// unknown (401). If its rollback failed, only the client forgets it: the next [`TaskManager::open`]
    /// tries again.
    pub fn clear(&self, id: &str) -> Result<(), TaskError> {
        let task = self.inner.find(id)?;
        self.inner.clear(&task)?;
        self.inner.lock().remove(&task.id);
        Ok(())
    }

    /// Waits until a task has come to its end; the status then, or as it is after `timeout`.
    pub fn wait(&self, id: &str, timeout: Duration) -> Result<TaskStatus, TaskError> {
        let task = self.inner.find(id)?;
        let deadline = Instant::now() + timeout;
        let mut live = task.lock();
        loop {
            let status = live.status(task.id).ok_or_else(|| unknown(task.id))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if status.state.is_done() || left.is_zero() {
                return Ok(status);
            }
            live = task
                .changed
                .wait_timeout(live, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Changes from now on. A subscriber that falls [`crate::EVENTS_BEHIND`] behind loses events.
    pub fn subscribe(&self) -> Receiver<TaskEvent> {
        self.inner.subscribers.add()
    }

    /// Lets no further job begin, asks those that run to stop and waits for their rollback. False if some
    /// had not ended by then: the next [`TaskManager::open`] rolls them back, as it does with those that
    /// still waited.
    pub fn close(&self, timeout: Duration) -> bool {
        self.inner.queue.close();
        for task in self.inner.list(None) {
            if task
                .record()
                .is_some_and(|record| record.state == State::Running)
            {
                self.inner.ask_to_stop(&task);
            }
        }
        self.inner.queue.join(timeout)
    }
}

impl Drop for TaskManager {
    fn drop(&mut self) {
        self.inner.queue.close();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the first record, then knows the task.
    fn add(&self, spec: TaskSpec) -> Result<Arc<Task>, PersistError> {
        let record = Record {
            sequence: self.next_sequence.fetch_add(1, Ordering::SeqCst),
            verb: spec.verb,
            tag: spec.tag,
            flow_id: spec.flow_id,
            state: State::Queued,
            code: 0,
            message: INITIALIZING.into(),
            output: TaskOutput::default(),
            undo: Vec::new(),
            hidden: false,
        };
        let id = TaskId(Uuid::new_v4());
        self.store.put(&id.to_string(), &record)?;
        let flow_id = record.flow_id.as_deref();
        tracing::info!(target: "tasks", task = %id, verb = record.verb, flow_id, "task made");
        let task = Arc::new(Task::new(id, record));
        self.lock().insert(id, task.clone());
        self.tell(&task);
        Ok(task)
    }

    /// Takes back a task that could not be queued.
    fn forget(&self, id: TaskId) {
        self.lock().remove(&id);
        if let Err(error) = self.store.remove(&id.to_string()) {
            tracing::warn!(target: "tasks", task = %id, %error, "cannot remove a record");
        }
    }

    /// The task of an id from the wire. Upstream: empty or with a dot is invalid, else unknown.
    fn find(&self, id: &str) -> Result<Arc<Task>, TaskError> {
        if id.is_empty() || id.contains('.') {
            return Err(TaskError::InvalidId { id: id.to_owned() });
        }
        let unknown = || TaskError::Unknown { id: id.to_owned() };
        let uuid = Uuid::try_parse(id).map_err(|_| unknown())?;
        self.lock().get(&TaskId(uuid)).cloned().ok_or_else(unknown)
    }

    fn list(&self, tag: Option<&str>) -> Vec<Arc<Task>> {
        let all: Vec<Arc<Task>> = self.lock().values().cloned().collect();
        let mut numbered: Vec<(u64, Arc<Task>)> = all
            .into_iter()
            .filter_map(|task| {
                let record = task.record()?;
                tag.is_none_or(|tag| tag == record.tag)
                    .then_some((record.sequence, task))
            })
            .collect();
        numbered.sort_by_key(|(sequence, _)| *sequence);
        numbered.into_iter().map(|(_, task)| task).collect()
    }

    fn ask_to_stop(&self, task: &Arc<Task>) {
        let callbacks = {
            let mut live = task.lock();
            let stoppable = !live.cancelled && !live.committed;
            let Some(record) = live.record.as_mut().filter(|_| stoppable) else {
                return;
            };
            if !matches!(record.state, State::Queued | State::Running) {
                return;
            }
            record.advance(State::Aborting);
            live.cancelled = true;
            std::mem::take(&mut live.callbacks)
        };
        tracing::info!(target: "tasks", task = %task.id, "asked to stop");
        self.tell(task);
        for callback in callbacks.into_values() {
            callback();
        }
    }

    fn begin_revert(&self, task: &Task) -> Result<(), TaskError> {
        let mut live = task.lock();
        let record = live.record.as_mut().ok_or_else(|| unknown(task.id))?;
        match record.state {
            State::Finished => {}
            State::Recovered | State::Failed => {
                return Err(TaskError::NotRevertable {
                    state: record.state,
                });
            }
            state => return Err(TaskError::NotFinished { state }),
        }
        let next = Record {
            state: State::Recovering,
            ..record.clone()
        };
        self.store
            .put(&task.id.to_string(), &next)
            .map_err(TaskError::Persist)?;
        *record = next;
        Ok(())
    }

    fn clear(&self, task: &Task) -> Result<(), TaskError> {
        let mut live = task.lock();
        let record = live.record.as_ref().ok_or_else(|| unknown(task.id))?;
        if !record.state.is_done() {
            return Err(TaskError::NotClearable {
                state: record.state,
            });
        }
        let name = task.id.to_string();
        if record.state == State::Failed && !record.undo.is_empty() {
            let hidden = Record {
                hidden: true,
                ..record.clone()
            };
            self.store.put(&name, &hidden).map_err(TaskError::Persist)?;
        } else {
            self.store.remove(&name).map_err(TaskError::Persist)?;
        }
        let event = live.event(task.id, true);
        live.record = None;
        drop(live);
        task.changed.notify_all();
        if let Some(event) = event {
            self.subscribers.tell(&event);
        }
        tracing::info!(target: "tasks", task = %task.id, "task cleared");
        Ok(())
    }

    /// Makes this the record on disk.
    pub(crate) fn save(&self, task: &Task, record: &Record) -> Result<(), PersistError> {
        self.store.put(&task.id.to_string(), record)
    }

    /// Tells of the task as it is, and wakes those who wait for it.
    pub(crate) fn tell(&self, task: &Task) {
        let event = task.lock().event(task.id, false);
        task.changed.notify_all();
        if let Some(event) = event {
            self.subscribers.tell(&event);
        }
    }
}
