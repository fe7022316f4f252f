//! Tells mismatches in the log: one ERROR line names verb, path, what was expected and the kind of what was found
//! (never its value), client and flow id; the same mismatch at most once a minute, with a count of those that were
//! not told meanwhile.
//!
//! The table is bounded: a client may make up paths without end. Those that find no place share one line a minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use schema::{CallContext, Mismatch};

/// The same mismatch is told once in this time.
const QUIET: Duration = Duration::from_mins(1);
/// Room in a full table is looked for once in this time: who floods it costs no walk each time.
const SWEEP: Duration = Duration::from_secs(1);
/// Mismatches that are told apart.
const PLACES: usize = 1024;
/// Longest path that is told, bytes.
const LONGEST_PATH: usize = 256;

/// What was not as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// Parameters that a client sent.
    Parameters,
    /// The agent's own answer.
    Result,
    /// The agent's own event.
    Event,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Result => "result",
            Self::Event => "event",
        }
    }
}

/// Where mismatches were found.
pub(crate) struct Origin<'a> {
    /// Of what.
    pub(crate) what: What,
    /// The verb, or the beginning of the event's name.
    pub(crate) name: &'static str,
    /// Who called; nobody caused an event.
    pub(crate) cx: Option<&'a CallContext>,
}

/// Tells mismatches.
pub(crate) struct Teller {
    /// The clock: time since any fixed moment.
    monotonic: fn() -> Duration,
    table: Mutex<Table>,
}

impl Teller {
    /// One that has told nothing yet.
    pub(crate) fn new(monotonic: fn() -> Duration) -> Self {
        Self {
            monotonic,
            table: Mutex::default(),
        }
    }

    /// Tells those that were not told within the last minute.
    pub(crate) fn tell(&self, origin: &Origin<'_>, mismatches: &[Mismatch]) {
        let now = (self.monotonic)();
        for mismatch in mismatches {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = table.turn(Same::of(origin, mismatch), now);
            drop(table);
            if let Some(suppressed) = turn {
                log(origin, mismatch, suppressed);
            }
        }
    }
}

fn log(origin: &Origin<'_>, mismatch: &Mismatch, suppressed: u64) {
    let flow_id = origin.cx.and_then(|cx| cx.flow_id.as_deref()).unwrap_or("");
    let client = origin.cx.and_then(|cx| cx.client);
    let client = client.map(|it| it.to_string()).unwrap_or_default();
    tracing::error!(
        target: "vdsm.schema",
        verb = origin.name,
        of = origin.what.as_str(),
        path = bounded(&mismatch.path),
        expected = mismatch.expected.as_str(),
        found = mismatch.found_kind,
        client,
        flow_id,
        suppressed,
        "not as declared",
    );
}

fn bounded(path: &str) -> &str {
    let mut end = path.len().min(LONGEST_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default()
}

/// What makes two mismatches the same. Items of one list count as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Same {
    what: What,
    name: &'static str,
    path: String,
    expected: String,
    found: &'static str,
}

impl Same {
    fn of(origin: &Origin<'_>, mismatch: &Mismatch) -> Self {
        let mut path = String::new();
        let mut within = false;
        for letter in bounded(&mismatch.path).chars() {
            within = within && letter.is_ascii_digit();
            if !within {
                path.push(letter);
            }
            within |= letter == '[';
        }
        Self {
            what: origin.what,
            name: origin.name,
            path,
            expected: mismatch.expected.clone(),
            found: mismatch.found_kind,
        }
    }
}

/// What was told when, and how often it was not.
#[derive(Default)]
struct Table {
    told: HashMap<Same, Told>,
    /// All that find no place.
    others: Option<Told>,
    /// When room was last looked for.
    swept: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Duration,
    suppressed: u64,
}

impl Told {
    fn is_stale(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) >= QUIET
    }

    /// As [`Table::turn`].
    fn turn(&mut self, now: Duration) -> Option<u64> {
        if !self.is_stale(now) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        let suppressed = std::mem::take(&mut self.suppressed);
        self.at = now;
        Some(suppressed)
    }
}

impl Table {
    /// How many were not told since the last time, if it is time to tell of this one again.
    fn turn(&mut self, same: Same, now: Duration) -> Option<u64> {
        if let Some(told) = self.told.get_mut(&same) {
            return told.turn(now);
        }
        if self.told.len() >= PLACES && now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.told.retain(|_, told| !told.is_stale(now));
        }
        let first = Told {
            at: now,
            suppressed: 0,
        };
        if self.told.len() < PLACES {
            self.told.insert(same, first);
            return Some(0);
        }
        if let Some(others) = &mut self.others {
            return others.turn(now);
        }
        self.others = Some(first);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch(path: &str, kind: &'static str) -> Same {
        let mismatch = Mismatch {
            path: path.to_owned(),
            expected: "uint".to_owned(),
            found: "never looked at".to_owned(),
            found_kind: kind,
        };
        let origin = Origin {
            what: What::Parameters,
            name: "VM.create",
            cx: None,
        };
        Same::of(&origin, &mismatch)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn the_same_is_told_once_a_minute_and_counted() {
        let mut table = Table::default();
        let same = || mismatch("vmParams.memSize", "a string");
        assert_eq!(table.turn(same(), at(0)), Some(0));
        for second in 1..60 {
            assert_eq!(table.turn(same(), at(second)), None, "{second}");
        }
        assert_eq!(table.turn(same(), at(60)), Some(59));
        assert_eq!(table.turn(same(), at(61)), None);
        assert_eq!(table.turn(same(), at(10_000)), Some(1));
    }

    #[test]
    fn paths_and_kinds_differ_and_items_of_a_list_do_not() {
        let mut table = Table::default();
        assert_eq!(table.turn(mismatch("a", "a string"), at(0)), Some(0));
        assert_eq!(table.turn(mismatch("a", "a number"), at(0)), Some(0));
        assert_eq!(table.turn(mismatch("b", "a string"), at(0)), Some(0));
        assert_eq!(table.turn(mismatch("l[0].x", "null"), at(0)), Some(0));
        assert_eq!(table.turn(mismatch("l[17].x", "null"), at(0)), None);
        assert_eq!(table.turn(mismatch("l[17].y", "null"), at(0)), Some(0));
        assert_eq!(table.turn(mismatch("l.17", "null"), at(0)), Some(0));
    }

    #[test]
    fn what_a_client_makes_up_is_bounded_in_memory_and_lines() {
        let mut table = Table::default();
        let lines = (0..100_000)
            .filter(|number| {
                table
                    .turn(mismatch(&format!("x{number}"), "null"), at(0))
                    .is_some()
            })
            .count();
        assert_eq!(lines, PLACES + 1);
        assert_eq!(table.told.len(), PLACES);
        let suppressed = table.turn(mismatch("new", "null"), at(59));
        assert_eq!(suppressed, None);
        // A minute later there is room again.
        assert_eq!(table.turn(mismatch("new", "null"), at(60)), Some(0));
        assert!(table.told.len() == 1);
        let long = mismatch(&"é".repeat(10_000), "null");
        assert!(long.path.len() <= LONGEST_PATH);
    }
}
