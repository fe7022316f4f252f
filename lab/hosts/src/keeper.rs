//! Starts programs that die with this process, whatever becomes of the thread that asked.
//!
//! The kernel's "die with the parent" counts the *thread* that started a program. So one thread, which
//! lives as long as the process, starts them all.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
};

use exec::{Child, Command, ExecError};

type Job = (Command, Sender<Result<Child, ExecError>>);

static KEEPER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();

/// Starts the program; it is killed when this process ends, and when the handle is dropped.
pub(crate) fn spawn(command: Command) -> Result<Child, ExecError> {
    let name = command.name();
    let gone = || ExecError::Io {
        program: name.clone(),
        source: std::io::ErrorKind::BrokenPipe.into(),
    };
    let (answer, heard) = channel();
    let job = (command.die_with_parent(), answer);
    let keeper = KEEPER.get_or_init(start).lock();
    let sent = keeper.unwrap_or_else(PoisonError::into_inner).send(job);
    sent.map_err(|_| gone())?;
    heard.recv().map_err(|_| gone())?
}

fn start() -> Mutex<Sender<Job>> {
    let (sender, jobs) = channel::<Job>();
    // Without the thread every job answers "broken pipe": an error at the place that wanted to start something.
    let _ = thread::Builder::new()
        .name("lab-keeper".to_owned())
        .spawn(move || {
            for (command, answer) in jobs {
                // Who asked may be gone: then the child is dropped, which ends it.
                let _ = answer.send(command.spawn());
            }
        });
    Mutex::new(sender)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_outlives_the_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| spawn(Command::new("sleep").arg("300")).unwrap())
            .join()
            .unwrap();
        assert_eq!(child.wait(Duration::from_millis(300)), None);
        child.end(Duration::ZERO);
    }
}
