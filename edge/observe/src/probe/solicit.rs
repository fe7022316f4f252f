//! Asking root who has an address, for networks that have no address to ask from: beside the loop, since it waits.

use std::{
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::Builder,
    time::Duration,
};

use net_model::{IfName, NetName};

/// Questions under way at the same time; each is a connection to the root helper.
const TOGETHER: usize = 4;

/// Who asks by ARP and neighbour solicitation: the root helper.
pub trait Solicitor: Send + Sync {
    /// Which of the targets answered on this interface, within `wait`; returns as soon as all did.
    ///
    /// # Errors
    /// It could not be asked: why, for the log.
    fn solicit(
        &self,
        device: &IfName,
        targets: &[IpAddr],
        wait: Duration,
    ) -> Result<Vec<IpAddr>, String>;
}

pub(super) struct Question {
    pub(super) network: NetName,
    /// Which sample of it.
    pub(super) flight: u64,
    pub(super) device: IfName,
    pub(super) targets: Vec<IpAddr>,
    pub(super) wait: Duration,
}

pub(super) struct Answer {
    pub(super) network: NetName,
    pub(super) flight: u64,
    pub(super) answered: Result<Vec<IpAddr>, String>,
}

/// The threads that ask; they end with it, each after the question that it asks.
pub(super) struct Askers {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
}

impl Askers {
    /// `wake` is written to when there is an answer.
    pub(super) fn start(
        solicitor: &Arc<dyn Solicitor>,
        wake: &Arc<OwnedFd>,
    ) -> std::io::Result<Self> {
        let (questions, asked) = channel();
        let (answered, answers) = channel();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..TOGETHER {
            let (solicitor, wake) = (Arc::clone(solicitor), Arc::clone(wake));
            let (asked, answered) = (Arc::clone(&asked), answered.clone());
            Builder::new().name("net-solicit".into()).spawn(move || {
                serve(solicitor.as_ref(), &asked, &answered, &wake);
            })?;
        }
        Ok(Self { questions, answers })
    }

    pub(super) fn ask(&self, question: Question) {
        // Threads that are gone do not answer: the sample ends by its time.
        let _ = self.questions.send(question);
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = Answer> + '_ {
        self.answers.try_iter()
    }
}

fn serve(
    solicitor: &dyn Solicitor,
    asked: &Mutex<Receiver<Question>>,
    answers: &Sender<Answer>,
    wake: &OwnedFd,
) {
    loop {
        let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else { return };
        let answered = solicitor.solicit(&question.device, &question.targets, question.wait);
        let answer = Answer {
            network: question.network,
            flight: question.flight,
            answered,
        };
        if answers.send(answer).is_err() {
            return;
        }
        super::rouse(wake);
    }
}
